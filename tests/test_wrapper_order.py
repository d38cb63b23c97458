"""Wrappers around this package's own that would turn an expert's actions into others are refused before the first step."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RescaleAction, TimeLimit
from helpers import ToyEnv, box_expert, teacher
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from nlf_sb3 import PPO, FeedbackError, FeedbackWrapper, TrajectoryInjection


class Flip(gym.ActionWrapper):
    def action(self, action):
        return -action


class Double(gym.ObservationWrapper):
    def observation(self, observation):
        return 2 * observation


class Less(gym.RewardWrapper):
    def reward(self, reward):
        return float(reward) - 1


def rescale(env):
    return RescaleAction(env, np.float32(-2.0), np.float32(2.0))


def limited(env):
    return TimeLimit(env, 3)


INNER = {
    "feedback": lambda: FeedbackWrapper(ToyEnv(), teacher(box_expert)),
    "fork": lambda: TrajectoryInjection(ToyEnv(), box_expert, twin=ToyEnv),
    "takeover": lambda: TrajectoryInjection(ToyEnv(), box_expert, mode="takeover"),
}


def learner(env):
    return PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [(inner, outer) for inner in INNER for outer in (Flip, rescale)] + [("fork", outer) for outer in (Double, Less, limited)],
)
def test_what_changes_the_expert_s_part_must_be_inside(inner, outer):
    model = learner(DummyVecEnv([lambda: Monitor(outer(INNER[inner]()))]))
    with pytest.raises(FeedbackError, match=r"(FeedbackWrapper|TrajectoryInjection): .*(is around it|acts in).* inside"):
        model.learn(16)
    assert model.num_timesteps == 0


@pytest.mark.parametrize(
    ("inner", "outer"), [(inner, outer) for inner in ("feedback", "takeover") for outer in (Double, Less, limited)]
)
def test_what_leaves_actions_alone_may_be_around(inner, outer):
    model = learner(DummyVecEnv([lambda: outer(INNER[inner]())])).learn(32)
    assert model.num_expert_queries + model.num_expert_steps > 0


def test_another_space_is_seen_in_other_processes_too():
    env = SubprocVecEnv([lambda: rescale(FeedbackWrapper(ToyEnv(), teacher(box_expert)))])
    try:
        with pytest.raises(FeedbackError, match=r"FeedbackWrapper: the learner acts in Box\(-2.0"):
            learner(env).learn(16)
    finally:
        env.close()


def test_settings_that_were_changed_after_construction_are_checked_before_the_first_step():
    model = learner(DummyVecEnv([ToyEnv]))
    model.expert = box_expert
    assert model.learn(16).num_expert_queries == 16
    model.alpha = 2.0
    with pytest.raises(ValueError, match="alpha"):
        model.learn(16)
