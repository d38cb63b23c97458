"""DummyVecEnv without copies of what can't change: deep copies are most of its own cost."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from nlf_sb3.feedback import Feedback
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.wrappers.marks import StepMark

_SHARED = frozenset(
    {type(None), bool, int, float, complex, str, bytes, Feedback, ExpertSegment, StepMark}
    | {np.bool_, np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64}
    | {np.uint8, np.uint16, np.uint32, np.uint64}
)
"""Types of values whose deep copy is the value itself, or as good as it."""


def copy_info(info: dict[str, Any]) -> dict[str, Any]:
    """
    :param info: A step's info
    :return: Its deep copy, in which only values that somebody could change are copied
    """
    if type(info) is not dict:
        return copy.deepcopy(info)
    return {key: value if type(value) in _SHARED else copy.deepcopy(value) for key, value in info.items()}


class LeanVecEnv(DummyVecEnv):
    """
    What ``DummyVecEnv`` does, number for number, in less time.

    Algorithms of this package put a single environment into one. Give several environments one by
    ``make_vec_env(..., vec_env_cls=LeanVecEnv)``; a ``DummyVecEnv`` that you pass stays what it is.

    >>> import gymnasium as gym
    >>> env = LeanVecEnv([lambda: gym.make("CartPole-v1") for _ in range(4)])
    >>> env.reset().shape
    (4, 4)

    :param env_fns: As in SB3
    """

    def step_wait(self) -> VecEnvStepReturn:
        infos = []
        observations = self.buf_obs.get(None)  # type: ignore[call-overload]  # there for every space but dicts and tuples
        for index, env in enumerate(self.envs):
            obs, self.buf_rews[index], terminated, truncated, info = env.step(self.actions[index])
            info["TimeLimit.truncated"] = truncated and not terminated
            done = terminated or truncated
            self.buf_dones[index] = done
            if done:
                info["terminal_observation"] = obs
                obs, self.reset_infos[index] = env.reset()
            if observations is None:
                self._save_obs(index, obs)
            else:
                observations[index] = obs
            self.buf_infos[index] = info
            infos.append(copy_info(info))
        copied = self._obs_from_buf() if observations is None else observations.copy()
        return copied, self.buf_rews.copy(), self.buf_dones.copy(), infos


def make_lean(env: VecEnv) -> None:
    """
    Turn an innermost ``DummyVecEnv`` into a :class:`LeanVecEnv`, in place; any other is left as it is.

    :param env: A vectorised environment that nobody else holds yet
    """
    inner = env.unwrapped
    if type(inner) is DummyVecEnv:
        inner.__class__ = LeanVecEnv
