"""FastDummyVecEnv does what DummyVecEnv does, and copies whatever somebody could change."""

import copy
from collections import OrderedDict

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nlf_sb3 import A2C, PPO, REINFORCE, FastDummyVecEnv, Feedback
from nlf_sb3.fast_dummy_vec_env import copy_info


class Chatty(gym.Wrapper):
    """Puts into every info what environments put there, its own changing arrays and lists among it."""

    def __init__(self, env):
        super().__init__(env)
        self.array, self.log = np.zeros(2), []

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.array += 1.0
        self.log.append(len(self.log))
        info = {**info, "array": self.array, "log": self.log, "nested": {"array": self.array}, "number": np.float64(reward)}
        info |= {"text": "so", "none": None, "feedback": Feedback(score=1.0)}
        return observation, reward, terminated, truncated, info


class InKind(gym.ObservationWrapper):
    """The toy environment's observations in another kind of space."""

    def __init__(self, env, kind):
        super().__init__(env)
        part = spaces.Box(-10.0, 10.0, (3,), np.float32)
        self.kind = kind
        self.observation_space = {
            "flat": part,
            "dict": spaces.Dict({"a": part, "b": part}),
            "tuple": spaces.Tuple((part, part)),
            "discrete": spaces.Discrete(5),
        }[kind]

    def observation(self, observation):
        several = {"flat": observation, "dict": {"a": observation, "b": -observation}, "tuple": (observation, -observation)}
        return several[self.kind] if self.kind in several else int(abs(observation[0]) * 10) % 5


def make(vec_env_class, kind="flat", n_envs=3):
    env = vec_env_class([lambda: Monitor(Chatty(InKind(ToyEnv(), kind))) for _ in range(n_envs)])
    env.seed(3)
    return env


def assert_equal(first, second):
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            if key != "t":  # Monitor's wall-clock time
                assert_equal(first[key], second[key])
    elif isinstance(first, (tuple, list)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert type(first) is type(second)
        assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["flat", "dict", "tuple", "discrete"])
def test_every_step_equals_dummy_vec_env_s(kind):
    lean, dummy = make(FastDummyVecEnv, kind), make(DummyVecEnv, kind)
    assert_equal(lean.reset(), dummy.reset())
    rng = np.random.default_rng(0)
    kept = []
    ended = 0
    for _ in range(40):
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        results = lean.step(actions), dummy.step(actions)
        assert_equal(*results)
        kept.append((results, copy.deepcopy(results)))
        ended += results[0][2].sum()
    assert ended > 5
    for results, as_they_were in kept:  # no later step has changed them
        assert_equal(results, as_they_were)


def test_it_takes_seeds_options_and_attributes_as_dummy_vec_env_does():
    env = make(FastDummyVecEnv)
    env.set_options({"start": 1})
    assert env.reset().shape == (3, 3)
    env.set_attr("length", 7)
    assert env.get_attr("length") == [7, 7, 7]
    assert VecNormalize(env).reset().shape == (3, 3)


def test_a_single_environment_goes_into_a_lean_one_and_a_given_one_stays_what_it_is():
    assert type(PPO("MlpPolicy", "CartPole-v1").env) is FastDummyVecEnv
    model = A2C("MlpPolicy", gym.make("CartPole-v1"))
    assert type(model.env) is FastDummyVecEnv
    model.set_env(gym.make("CartPole-v1"))
    assert type(model.env) is FastDummyVecEnv
    dummy = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    assert type(PPO("MlpPolicy", dummy).env) is DummyVecEnv
    assert type(REINFORCE("MlpPolicy", VecNormalize(dummy)).env.venv) is DummyVecEnv


@pytest.mark.parametrize("algorithm", [PPO, REINFORCE])
def test_training_in_it_is_training_in_dummy_vec_env(algorithm):
    def trained(vec_env_class):
        env = make_vec_env(lambda: ToyEnv(), 2, seed=0, vec_env_cls=vec_env_class)
        settings = {"n_steps": 32, "batch_size": 16} if algorithm is PPO else {"n_episodes": 4}
        return algorithm("MlpPolicy", env, seed=0, device="cpu", **settings).learn(128)

    lean, dummy = trained(FastDummyVecEnv), trained(DummyVecEnv)
    for one, other in zip(lean.policy.parameters(), dummy.policy.parameters(), strict=True):
        assert th.equal(one, other)


def test_infos_of_other_types_stay_what_they_are():
    info = copy_info(OrderedDict(a=[1]))
    assert type(info) is OrderedDict
    plain = {"a": [1], "b": 2.0}
    assert copy_info(plain) == plain
    assert copy_info(plain)["a"] is not plain["a"]
