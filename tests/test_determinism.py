"""The same seed trains the same agent, bit for bit; worker processes train what one process trains."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, assert_same_model
from learners import ALGORITHMS, learner, parameters_of
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from nlf_sb3 import Demonstrations, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.teachers import Expert, ExpertTeacher

CHANNELS = ("expert", "wrapper", "fork", "takeover", "demonstrations")
REFUSED = ("RecurrentPPO", "demonstrations")
CELLS = [cell for cell in itertools.product(ALGORITHMS, CHANNELS) if cell != REFUSED]


class Draws(Expert):
    """An expert whose actions come from a generator of its own, which has to be seeded."""

    label = "sample"

    def __init__(self, space):
        self.space = space
        self.rng = np.random.default_rng()

    def seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def act(self, observations):
        if isinstance(self.space, gym.spaces.Discrete):
            return self.rng.integers(3, size=len(observations))
        return self.rng.uniform(-0.4, 0.4, (len(observations), 2)).astype(np.float32)


class AllAllowed(gym.Wrapper):
    def action_masks(self):
        return np.ones(3, bool)


def space_of(algorithm):
    return "discrete" if algorithm == "MaskablePPO" else "box"


def plain(algorithm):
    env = ToyEnv(space_of(algorithm), bound=0.4)
    return AllAllowed(env) if algorithm == "MaskablePPO" else env


def one_env(algorithm, channel):
    env = plain(algorithm)
    expert = Draws(env.action_space)
    if channel == "wrapper":
        return FeedbackWrapper(env, ExpertTeacher(expert, probability=0.5))
    if channel == "fork":
        return TrajectoryInjection(env, expert, 0.3, twin=lambda: plain(algorithm))
    if channel == "takeover":
        return TrajectoryInjection(env, expert, 0.3, mode="takeover")
    return env


def train(algorithm, channel, seed, vec_env=DummyVecEnv, n_envs=2, normalized=False, n_steps=60):
    env = vec_env([lambda: one_env(algorithm, channel)] * n_envs)
    # DummyVecEnv's rewards are float32 and SubprocVecEnv's float64: SB3's reward statistics differ in their last digits.
    env = VecNormalize(env, norm_reward=False) if normalized else env
    kwargs = {}
    if channel == "expert":
        kwargs["expert"] = Draws(env.action_space)
    if channel == "demonstrations":
        observations = np.arange(90, dtype=np.float32).reshape(30, 3) / 90
        expert = Draws(env.action_space)
        expert.seed(0)
        kwargs["demonstrations"] = Demonstrations(observations, expert.act(observations))
    model = learner(algorithm, env, seed=seed, **kwargs)
    model.learn(n_steps)
    env.close()
    return model


def disturb():
    """What a user's own code does to the global generators between two trainings."""
    np.random.seed(99)
    th.manual_seed(99)
    np.random.random(7)


@pytest.mark.parametrize(("algorithm", "channel"), CELLS)
def test_the_same_seed_trains_the_same_agent_and_another_seed_another(algorithm, channel):
    first = train(algorithm, channel, seed=3)
    disturb()
    second, other = train(algorithm, channel, seed=3), train(algorithm, channel, seed=4)
    assert_same_model(first, second)
    assert (first.num_expert_queries, first.num_expert_steps) == (second.num_expert_queries, second.num_expert_steps)
    assert not th.equal(parameters_of(first), parameters_of(other))


@pytest.mark.parametrize(("algorithm", "channel"), CELLS)
def test_the_channel_matters(algorithm, channel):
    """Otherwise the equalities here would be those of Stable-Baselines3 alone."""
    with_feedback, without = train(algorithm, channel, seed=3), train(algorithm, "none", seed=3)
    assert not th.equal(parameters_of(with_feedback), parameters_of(without))


@pytest.mark.parametrize(
    ("algorithm", "channel", "normalized"),
    [("A2C", "fork", False), ("PPO", "wrapper", True), ("REINFORCE", "wrapper", False), ("MaskablePPO", "takeover", False)],
)
def test_worker_processes_train_what_one_process_trains(algorithm, channel, normalized):
    models = [train(algorithm, channel, 5, vec_env, normalized=normalized) for vec_env in (DummyVecEnv, SubprocVecEnv)]
    assert_same_model(*models)
    assert models[0].num_expert_queries == models[1].num_expert_queries
    assert models[0].num_expert_steps == models[1].num_expert_steps


@pytest.mark.parametrize("channel", ["wrapper", "fork", "takeover"])
def test_an_expert_or_teacher_that_one_instance_serves_all_environments_is_still_deterministic(channel):
    def shared(seed):
        expert = Draws(ToyEnv(bound=0.4).action_space)

        def one():
            env = ToyEnv(bound=0.4)
            if channel == "wrapper":
                return FeedbackWrapper(env, ExpertTeacher(expert, probability=0.5))
            twin = {"twin": lambda: ToyEnv(bound=0.4)} if channel == "fork" else {"mode": "takeover"}
            return TrajectoryInjection(env, expert, 0.3, **twin)

        return learner("PPO", DummyVecEnv([one] * 3), seed=seed).learn(72)

    assert_same_model(shared(1), shared(1))
