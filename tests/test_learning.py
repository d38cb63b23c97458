"""Feedback makes agents learn faster, and the same seed makes the same agent."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, assert_same_model, box_expert, cartpole_expert, largest_difference
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import Demonstrations, FeedbackWrapper, Injection, TrajectoryInjection
from nlf_sb3.teachers import CallableExpert, ExpertTeacher, PolicyExpert

SEEDS = (0, 1)
SETTINGS = {
    "A2C": {"n_steps": 16, "learning_rate": 3e-3},
    "PPO": {"n_steps": 64, "learning_rate": 1e-3},
    "REINFORCE": {"n_episodes": 1, "learning_rate": 3e-3},
}
STEPS = {"A2C": 1024, "PPO": 1024, "REINFORCE": 1536}


def make(algorithm, env, **kwargs):
    return getattr(nlf_sb3, algorithm)("MlpPolicy", env, **{"seed": 0, "device": "cpu", **SETTINGS[algorithm], **kwargs})


def balance(model):
    """Mean number of steps for which a policy balances CartPole, at most 200."""
    env = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=200)] * 5)
    env.seed(7)
    return evaluate_policy(model, env, n_eval_episodes=5, deterministic=False, warn=False)[0]


def test_the_expert_of_these_tests_balances():
    class AsModel:
        def predict(self, observations, **kwargs):
            return cartpole_expert(observations), None

    assert balance(AsModel()) == 200


def mean_balance(algorithm, make_env, steps=None, **kwargs):
    steps = steps or STEPS[algorithm]
    return np.mean([balance(make(algorithm, make_env(), seed=seed, **kwargs).learn(steps)) for seed in SEEDS])


def cartpole():
    return gym.make("CartPole-v1")


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_joint_learning_beats_plain_learning_within_few_steps(algorithm):
    joint = mean_balance(algorithm, cartpole, alpha=0.2, expert=cartpole_expert)
    assert joint >= 140
    assert joint >= mean_balance(algorithm, cartpole) + 25


def test_labels_through_the_wrapper_teach_as_well():
    def env():
        return FeedbackWrapper(cartpole(), ExpertTeacher(cartpole_expert, probability=0.5))

    assert mean_balance("PPO", env, alpha=0.2) >= 140


def test_demonstrations_make_their_actions_likely():
    env = cartpole()
    rows = []
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        for step in range(20):
            rows.append(observation)
            observation, *_ = env.step(step % 2)
    observations = np.stack(rows)
    demonstrations = Demonstrations(observations, cartpole_expert(observations))
    model = make("PPO", env, alpha=0.0, demonstrations=demonstrations)

    def mean_probability():
        tensor, _ = model.policy.obs_to_tensor(observations)
        with th.no_grad():
            log_prob = model.policy.get_distribution(tensor).log_prob(th.as_tensor(demonstrations.actions))
        return log_prob.exp().mean().item()

    assert mean_probability() < 0.6
    model.learn(512)
    assert mean_probability() > 0.75


def test_injected_trajectories_lift_reinforce():
    def env():
        return TrajectoryInjection(gym.make("CartPole-v1", max_episode_steps=200), cartpole_expert)

    injected = mean_balance("REINFORCE", env, steps=1024, n_episodes=2, injection=Injection(coef=2.0))
    assert injected >= mean_balance("REINFORCE", cartpole, steps=1024, n_episodes=2) + 10


def test_imitation_teaches_a_gaussian_policy_the_experts_actions():
    model = make("PPO", DummyVecEnv([ToyEnv] * 4), alpha=0.0, expert=box_expert, learning_rate=3e-3)
    observations = np.random.default_rng(0).uniform(-1, 1, size=(100, 3)).astype(np.float32)

    def error():
        return float(np.abs(model.predict(observations, deterministic=True)[0] - box_expert(observations)).mean())

    before = error()
    model.learn(2048)
    assert before > 0.15
    assert error() < 0.05


# --- the same seed, the same agent ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampling_expert():
    """A stochastic policy: its samples come from generators that have to be seeded."""
    return PolicyExpert(nlf_sb3.PPO("MlpPolicy", DummyVecEnv([ToyEnv]), seed=5, device="cpu"), seed=1)


CHANNELS = {
    "wrapper": lambda expert: (FeedbackWrapper(gym.make("NLFToyNarrowBox-v0"), ExpertTeacher(expert, probability=0.5)), {}),
    "expert": lambda expert: (gym.make("NLFToyNarrowBox-v0"), {"expert": expert}),
    "kl": lambda expert: (gym.make("NLFToyNarrowBox-v0"), {"expert": expert, "imitation": "kl"}),
    "injection": lambda expert: (TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), expert, 0.3), {}),
    "demonstrations": lambda expert: (
        gym.make("NLFToyNarrowBox-v0"),
        {
            "demonstrations": Demonstrations(
                np.arange(600, dtype=np.float32).reshape(200, 3) / 600, np.zeros((200, 2), np.float32)
            )
        },
    ),
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("algorithm", SETTINGS)
def test_the_same_seed_trains_the_same_agent(algorithm, channel, sampling_expert):
    def bounded(observations):
        return np.clip(sampling_expert.act(observations), -0.4, 0.4)

    class Bounded(CallableExpert):
        def seed(self, seed):
            sampling_expert.seed(seed)

        def distribution(self, observations):
            return sampling_expert.distribution(observations)

    def train(seed):
        env, kwargs = CHANNELS[channel](Bounded(bounded, label="sample"))
        settings = {"n_steps": 16} if algorithm != "REINFORCE" else {}
        settings |= {"batch_size": 16} if algorithm == "PPO" else {}
        return make(algorithm, env, **{"seed": seed, **settings, **kwargs}).learn(160)

    first = train(3)
    sampling_expert.act(np.zeros((7, 3), np.float32))  # someone else uses the expert in between
    second, other = train(3), train(4)
    assert_same_model(first, second)
    assert first.num_expert_queries == second.num_expert_queries
    assert first.num_expert_steps == second.num_expert_steps
    assert largest_difference(first.policy, other.policy) > 1e-4
