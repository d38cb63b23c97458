"""DummyVecEnv that copies only mutable values. Deep copies are most of its cost."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from nlf_sb3.feedback import Feedback
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.infos import Takeover
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.wrappers.marks import StepMark

_SHARED = frozenset(
    {type(None), bool, int, float, complex, str, bytes, Feedback, ExpertSegment, StepMark, Takeover}
    | {np.bool_, np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64}
    | {np.uint8, np.uint16, np.uint32, np.uint64}
)
"""Types of immutable values."""


def copy_info(info: dict[str, Any]) -> dict[str, Any]:
    """
    :param info: A step's info
    :return: Its deep copy; immutable values are shared
    """
    if type(info) is not dict:
        return copy.deepcopy(info)
    return {key: value if type(value) in _SHARED else copy.deepcopy(value) for key, value in info.items()}


class FastDummyVecEnv(DummyVecEnv):
    """
    A ``DummyVecEnv`` that does the same in less time, number for number.

    Algorithms of this package put a single environment into one. For several environments, use
    ``make_vec_env(..., vec_env_cls=FastDummyVecEnv)``. A ``DummyVecEnv`` that you pass is left as it is.

    >>> import gymnasium as gym
    >>> env = FastDummyVecEnv([lambda: gym.make("CartPole-v1") for _ in range(4)])
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


def make_fast(env: VecEnv) -> None:
    """
    Turn an innermost ``DummyVecEnv`` into a :class:`FastDummyVecEnv`, in place. Any other is left as it is.

    :param env: A vectorised environment that no other object holds yet
    """
    inner = innermost(env)
    if type(inner) is DummyVecEnv:
        inner.__class__ = FastDummyVecEnv
