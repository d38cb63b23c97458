"""What a vectorised environment does to observations and rewards on their way to the policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    is_vecenv_wrapped,
    unwrap_vec_normalize,
)

from nlf_sb3.errors import FeedbackError
from nlf_sb3.segments import Observations

_PASS_THROUGH = (VecCheckNan, VecMonitor, VecVideoRecorder)


def to_policy_observations(env: VecEnv, observations: Observations) -> Observations:
    """
    Take single observations through the wrappers of a vectorised environment, statistics frozen.

    :param env: The learner's environment
    :param observations: As one environment returns them, ``[n, *obs_shape]`` or a dict of such
    :return: As the policy gets them
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here, or stacks frames,
        which single observations have no past for
    """
    if is_vecenv_wrapped(env, VecFrameStack):
        raise FeedbackError(
            "VecFrameStack stacks each observation on those before it, and a demonstration has none. Use Gymnasium's "
            "FrameStackObservation inside the environment, and demonstrations with stacked frames."
        )
    return episode_to_policy_observations(env, observations)


def episode_to_policy_observations(env: VecEnv, observations: Observations) -> Observations:
    """
    Take an episode's observations through the wrappers of a vectorised environment, statistics frozen.

    :param env: The learner's environment
    :param observations: As one environment returns them from its reset on, ``[T, *obs_shape]`` or a dict of such
    :return: As the policy gets them
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here
    """
    check_vec_wrappers(env)
    wrappers = []
    while isinstance(env, VecEnvWrapper):
        wrappers.append(env)
        env = env.venv
    for wrapper in reversed(wrappers):
        if isinstance(wrapper, VecTransposeImage):
            observations = wrapper.transpose_observations(observations)
        elif isinstance(wrapper, VecNormalize):
            observations = wrapper.normalize_obs(observations)
        elif isinstance(wrapper, VecFrameStack):
            observations = _stack_frames(wrapper.stacked_obs, observations)
    return observations


def _stack_frames(stack: Any, observations: Any) -> Any:
    """What SB3's ``StackedObservations`` makes of one episode: zeros before its start."""
    if isinstance(observations, dict):
        return {key: _stack_frames(stack.sub_stacked_observations[key], frames) for key, frames in observations.items()}
    before = np.zeros((stack.n_stack - 1, *observations.shape[1:]), dtype=observations.dtype)
    frames = np.concatenate([before, observations])
    shifted = [frames[first : first + len(observations)] for first in range(stack.n_stack)]
    return np.concatenate(shifted, axis=stack.stack_dimension)


def to_policy_rewards(env: VecEnv, rewards: np.ndarray) -> np.ndarray:
    """
    :param env: The learner's environment
    :param rewards: As one environment returns them, ``[n]``
    :return: As the learner gets them: scaled by VecNormalize's frozen statistics, if there are any
    """
    vec_normalize = unwrap_vec_normalize(env)
    return rewards if vec_normalize is None else vec_normalize.normalize_reward(rewards)


def check_vec_wrappers(env: VecEnv) -> None:
    """
    :param env: The learner's environment
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here
    """
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, (VecTransposeImage, VecNormalize, VecFrameStack, *_PASS_THROUGH)):
            raise FeedbackError(
                f"{type(env).__name__} changes observations in a way that can't be repeated for expert rows. "
                "Put a Gymnasium wrapper that does the same inside the environment instead."
            )
        env = env.venv


def as_environment_gave_them(env: VecEnv, observations: Any) -> Any:
    """
    Undo what SB3's buffers and its image wrapper do to observations.

    :param env: The learner's environment
    :param observations: Rows of a rollout buffer, ``[n, ...]`` or a dict of such
    :return: The same in the layout and dtype of the environment's own space; stacked frames stay stacked
    """
    space = env.unwrapped.observation_space
    transposed = _transposed_keys(env)
    if isinstance(space, spaces.Dict):
        return {key: _as_in_space(value, space[key], key in transposed) for key, value in observations.items()}
    return _as_in_space(observations, space, bool(transposed))


def _transposed_keys(env: VecEnv) -> list[str]:
    """Keys of a dict's images that VecTransposeImage puts channels first in; ``[""]`` for an image alone."""
    keys: list[str] = []
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecTransposeImage) and not env.skip:
            keys = getattr(env, "image_space_keys", [""])
        env = env.venv
    return keys


def _as_in_space(observations: np.ndarray, space: spaces.Space, is_transposed: bool) -> np.ndarray:
    if is_transposed:
        observations = np.moveaxis(observations, 1, -1)
    shape = (len(observations), *(space.shape or ()))
    if observations.size == np.prod(shape):
        observations = observations.reshape(shape)
    # Before 2.3, SB3's rollout buffers hold every observation as float32.
    return observations.astype(space.dtype, copy=False)
