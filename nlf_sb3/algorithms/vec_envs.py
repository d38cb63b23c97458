"""What a vectorised environment does to observations and rewards on their way to the policy."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)

from nlf_sb3.errors import FeedbackError
from nlf_sb3.segments import Observations

_PASS_THROUGH = (VecCheckNan, VecMonitor, VecVideoRecorder)


def to_policy_observations(env: VecEnv, observations: Observations) -> Observations:
    """
    Take single environments' observations through the wrappers of a vectorised one, statistics frozen.

    :param env: The learner's environment
    :param observations: As one environment returns them, ``[n, *obs_shape]`` or a dict of such
    :return: As the policy gets them
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here
    """
    wrappers = []
    while isinstance(env, VecEnvWrapper):
        wrappers.append(env)
        env = env.venv
    for wrapper in reversed(wrappers):
        if isinstance(wrapper, VecTransposeImage):
            observations = wrapper.transpose_observations(observations)
        elif isinstance(wrapper, VecNormalize):
            observations = wrapper.normalize_obs(observations)
        elif not isinstance(wrapper, _PASS_THROUGH):
            raise FeedbackError(
                f"{type(wrapper).__name__} changes observations in a way that can't be repeated for expert rows. "
                "Put a Gymnasium wrapper that does the same inside the environment instead."
            )
    return observations


def to_policy_rewards(env: VecEnv, rewards: np.ndarray) -> np.ndarray:
    """
    :param env: The learner's environment
    :param rewards: As one environment returns them, ``[n]``
    :return: As the learner gets them: scaled by VecNormalize's frozen statistics, if there are any
    """
    vec_normalize = unwrap_vec_normalize(env)
    return rewards if vec_normalize is None else vec_normalize.normalize_reward(rewards)
