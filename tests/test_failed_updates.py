"""An error within an update leaves nothing behind: the policy, the buffer and the settings are as they were."""

from __future__ import annotations

import pytest
from helpers import ToyEnv, box_expert
from learners import learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import TrajectoryInjection


class Breaks(RuntimeError):
    pass


@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "TRPO", "REINFORCE"])
def test_an_error_in_the_optimiser_undoes_what_was_attached(algorithm):
    def taken_over():
        return TrajectoryInjection(ToyEnv(), box_expert, 0.5, mode="takeover")

    kwargs = {"normalize_returns": False} if algorithm == "REINFORCE" else {}
    model = learner(algorithm, DummyVecEnv([taken_over] * 2), expert=box_expert, **kwargs)
    before = {name: vars(model).get(name) for name in ("normalize_advantage", "target_kl", "sub_sampling_factor")}

    def step(*args, **kwargs):
        raise Breaks

    model.policy.optimizer.step = step
    try:
        model.learn(48)
    except Breaks as error:
        kept = error  # with its traceback, in which frames live on
    assert kept is not None
    assert not {"evaluate_actions", "get_distribution"} & vars(model.policy).keys()
    assert "get" not in vars(model.rollout_buffer)
    assert {name: vars(model).get(name) for name in before} == before
