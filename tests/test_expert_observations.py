"""What an expert= observes: the environment's own observation, whatever the vectorised environment does to it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from learners import learner
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
)

from nlf_sb3 import FeedbackError, FeedbackWrapper
from nlf_sb3.teachers import ExpertTeacher

N_STEPS = 12
SPACES = {
    "vector": spaces.Box(-1e3, 1e3, (2,), np.float64),
    "matrix": spaces.Box(-1e3, 1e3, (3, 2), np.float32),
    "image": spaces.Box(0, 255, (36, 40, 2), np.uint8),
    "dict": spaces.Dict({"picture": spaces.Box(0, 255, (36, 40, 1), np.uint8), "grid": spaces.Box(-1e3, 1e3, (3, 2))}),
}


class Clock(gym.Env):
    """Observes a number of its own in every element; episodes of 5 steps. Never the same number twice."""

    action_space = spaces.Discrete(2)

    def __init__(self, kind: str):
        self.observation_space = SPACES[kind]
        self.time = 0
        self.seen: list = []

    def _observe(self):
        self.time += 1
        space = self.observation_space
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        made = {
            key: (self.time * 5 + np.arange(np.prod(part.shape)) % 5).reshape(part.shape).astype(part.dtype)
            for key, part in parts.items()
        }
        observation = made if isinstance(space, spaces.Dict) else made[""]
        self.seen.append(observation)
        return observation

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        observation = self._observe()
        if self.steps == 5:
            self.seen.pop()  # nobody acts in it
        return observation, 1.0, self.steps == 5, False, {}


def normalize(env):
    keys = ["grid"] if isinstance(env.observation_space, spaces.Dict) else None
    return VecNormalize(env, norm_obs_keys=keys)


def stack(env):
    return VecFrameStack(env, 3)


def stack_first(env):
    return VecFrameStack(env, 3, channels_order="first")


def stack_mixed(env):
    return VecFrameStack(env, 2, channels_order={"picture": None, "grid": "first"})


CHAINS = {
    "vector-plain": (),
    "vector-stack": (stack,),
    "vector-stack of normalized": (normalize, stack),
    "vector-normalized stack": (stack, normalize),
    "vector-stack of a stack": (stack, stack),
    "vector-rewards normalized": (stack, lambda env: VecNormalize(env, norm_obs=False)),
    "vector-statistics on statistics": (normalize, stack, normalize),
    "vector-rewards normalized, on statistics": (normalize, lambda env: VecNormalize(env, norm_obs=False)),
    "matrix-stack": (stack,),
    "matrix-stack, first": (stack_first,),
    "matrix-stack, first, normalized": (stack_first, normalize),
    "image-stack": (stack,),
    "image-stack of transposed": (VecTransposeImage, stack),
    "image-transposed stack": (stack, VecTransposeImage, lambda env: VecNormalize(env, norm_obs=False)),
    "dict-stack": (stack,),
    "dict-mixed stack": (stack_mixed,),
    "dict-normalized stack": (stack_mixed, normalize),
    "dict-stack of normalized": (normalize, stack_mixed),
    "dict-normalized, transposed stack": (stack, VecTransposeImage, normalize),
}


def vec_env(kind, *wrappers):
    env = DummyVecEnv([lambda: Clock(kind)])
    for wrapper in wrappers:
        env = wrapper(env)
    return env


@pytest.mark.parametrize("chain", CHAINS)
def test_an_expert_gets_the_environment_s_own_observations_of_single_frames(chain):
    kind, env = chain.split("-")[0], vec_env(chain.split("-")[0], *CHAINS[chain])
    asked = []

    def expert(observations):
        asked.append(observations)
        return np.zeros(len(observations if kind != "dict" else observations["grid"]), dtype=int)

    learner("PPO", env, expert=expert).learn(N_STEPS)
    seen = env.get_attr("seen")[0][:N_STEPS]
    parts = SPACES["dict"].spaces if kind == "dict" else {"": SPACES[kind]}
    for key, space in parts.items():
        got = asked[0][key] if key else asked[0]
        assert got.dtype == space.dtype
        np.testing.assert_array_equal(got, np.stack([frame[key] if key else frame for frame in seen]))


class Times10(VecEnvWrapper):
    def reset(self):
        return self.venv.reset() * 10

    def step_wait(self):
        observations, *rest = self.venv.step_wait()
        return (observations * 10, *rest)


@pytest.mark.parametrize(
    ("name", "env"),
    [
        ("Times10", lambda inner: vec_env("vector", inner, Times10)),
        ("Times10", lambda inner: vec_env("vector", inner, Times10, stack)),
        ("VecExtractDictObs", lambda inner: vec_env("dict", inner, lambda env: VecExtractDictObs(env, "grid"))),
    ],
)
def test_an_expert_behind_a_wrapper_that_isn_t_known_is_refused_before_the_first_step(name, env):
    steps = []

    class Counts(VecEnvWrapper):
        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            steps.append(1)
            return self.venv.step_wait()

    model = learner("PPO", env(Counts), expert=lambda observations: np.zeros(len(observations), dtype=int))
    with pytest.raises(FeedbackError, match=rf"expert=.*{name} .*FeedbackWrapper"):
        model.learn(N_STEPS)
    assert not steps


def test_the_way_round_a_wrapper_that_isn_t_known():
    asked = []

    def expert(observations):
        asked.append(observations)
        return np.zeros(len(observations), dtype=int)

    env = Times10(DummyVecEnv([lambda: FeedbackWrapper(Clock("vector"), ExpertTeacher(expert))]))
    learner("PPO", env).learn(N_STEPS)
    np.testing.assert_array_equal(asked[0], [[5, 6]])
