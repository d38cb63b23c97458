"""Ordinary trainings warn of nothing: neither NumPy's means of nothing nor torch's read-only arrays."""

import itertools
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, box_expert, discrete_expert
from learners import ALGORITHMS, NO_BOX, is_finite, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import FeedbackWrapper, Imitation, LabelReplay, TrajectoryInjection
from nlf_sb3.teachers import ExpertTeacher

CHANNELS = ("none", "expert", "wrapper", "rare labels", "fork", "takeover", "guide", "memory")


@pytest.fixture(autouse=True)
def _every_warning_is_an_error():
    th.set_warn_always(True)  # torch says some things once in a process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_others = ".*env.action_masks to get variables from other wrappers is deprecated"  # sb3-contrib, Gymnasium 0.29
        mini_batch, takeovers = "You have specified a mini-batch size", "mode='(takeover|guide)' with normalize_returns"
        for by_design in (mini_batch, takeovers, by_others):
            warnings.filterwarnings("ignore", message=by_design)
        yield
    th.set_warn_always(False)


class Unmasked(ToyEnv):
    def action_masks(self):
        return np.ones(3, dtype=bool)


def taught(algorithm, channel, n_envs=1, lengths=(3, 9), **kwargs):
    action = "discrete" if algorithm in NO_BOX else "box"
    expert = discrete_expert if action == "discrete" else box_expert

    def plain() -> gym.Env:
        return Unmasked(action, lengths)

    def one() -> gym.Env:
        if channel in ("wrapper", "rare labels"):
            return FeedbackWrapper(plain(), ExpertTeacher(expert, probability=1.0 if channel == "wrapper" else 0.05))
        if channel == "fork":
            return TrajectoryInjection(plain(), expert, 0.3, twin=plain)
        if channel == "takeover":
            return TrajectoryInjection(plain(), expert, 0.2, mode="takeover")
        if channel == "guide":
            return TrajectoryInjection(plain(), expert, mode="guide", guide_steps=3)
        return plain()

    if channel in ("expert", "memory"):
        kwargs["expert"] = expert
    if channel == "memory" and algorithm != "RecurrentPPO":
        kwargs["imitation"] = Imitation(replay=LabelReplay(30))
    return learner(algorithm, DummyVecEnv([one] * n_envs), **kwargs)


@pytest.mark.parametrize(("algorithm", "channel"), list(itertools.product(ALGORITHMS, CHANNELS)))
def test_an_ordinary_training_warns_of_nothing(algorithm, channel):
    baseline = {"baseline": True} if algorithm == "REINFORCE" else {}
    assert is_finite(taught(algorithm, channel, **baseline).learn(40))


@pytest.mark.parametrize("channel", ["expert", "fork", "takeover", "guide"])
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in NO_BOX])
def test_nor_does_one_of_episodes_and_minibatches_of_one_row(algorithm, channel):
    own = {"n_episodes": 1} if algorithm == "REINFORCE" else {"n_steps": 3}
    if "PPO" in algorithm:
        own |= {"batch_size": 2}
    assert is_finite(taught(algorithm, channel, lengths=(1, 2), **own).learn(20))
