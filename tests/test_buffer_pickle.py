"""Rollout buffers that keep feedback can be pickled and copied, as SB3's own can."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from helpers import EXPERTS, ToyEnv
from learners import ALGORITHMS, NO_BOX, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import TrajectoryInjection


class AllAllowed(gym.Wrapper):
    def action_masks(self):
        return np.ones(3, bool)


def assert_equal(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, np.ndarray):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("again", [lambda buffer: pickle.loads(pickle.dumps(buffer)), copy.deepcopy], ids=["pickle", "copy"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_buffer_comes_back_with_all_its_rows(algorithm, again):
    action = "discrete" if algorithm in NO_BOX else "box"
    env = DummyVecEnv([lambda: TrajectoryInjection(AllAllowed(ToyEnv(action)), EXPERTS[action], 0.2, mode="takeover")] * 2)
    kept = []
    model = learner(algorithm, env, expert=EXPERTS[action])
    attached = model.feedback.adapter.attached

    def keep_and_attach(terms):
        kept.append(again(model.rollout_buffer))
        return attached(terms)

    model.feedback.adapter.attached = keep_and_attach
    model.learn(24)
    kept, buffer = kept[0], again(model.rollout_buffer)
    assert type(kept) is type(model.rollout_buffer)
    assert kept.executed.any()
    assert kept.label_kinds.any()
    assert_equal(vars(buffer), vars(model.rollout_buffer))
    assert len(kept.row_indices()) > 0
    assert sum(1 for _ in kept.get(None if algorithm in ("REINFORCE", "TRPO") else 8)) > 0  # it still deals minibatches
    kept.reset()
    assert kept.segments == []
