"""The changes that a vectorised environment makes to observations and rewards on their way to the policy."""

from __future__ import annotations

from collections.abc import Iterator
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
)

from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.segments import Observations

LEAVE_OBSERVATIONS = (VecCheckNan, VecMonitor, VecVideoRecorder)
"""Wrappers that leave observations alone."""
KNOWN_WRAPPERS = (VecTransposeImage, VecNormalize, VecFrameStack, *LEAVE_OBSERVATIONS)
"""Wrappers with known effects on observations."""


def to_policy_observations(env: VecEnv, observations: Observations) -> Observations:
    """
    Take single observations through the wrappers of a vectorised environment, statistics frozen.

    :param env: The learner's environment
    :param observations: As one environment returns them, ``[n, *obs_shape]`` or a dict of such
    :return: As the policy gets them
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here, or stacks frames,
        which single observations have no past for
    """
    check_demonstrations_pass(env)
    return episode_to_policy_observations(env, observations)  # type: ignore[no-any-return]


def check_demonstrations_pass(env: VecEnv) -> None:
    """
    :param env: The learner's environment
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here, or stacks frames
    """
    check_vec_wrappers(env)
    for wrapper in wrappers_of(env):
        if not _is_as_known(wrapper):
            raise FeedbackError(
                f"demonstrations= are of the environments' own observations and actions, and {type(wrapper).__name__} takes "
                "steps in a way of its own, which may change them. Put a Gymnasium wrapper that does the same inside the "
                "environment."
            )
    if is_vecenv_wrapped(env, VecFrameStack):
        raise FeedbackError(
            "VecFrameStack stacks each observation on those before it, and a demonstration has none. Use Gymnasium's "
            "FrameStackObservation inside the environment, and demonstrations with stacked frames."
        )


def episode_to_policy_observations(env: VecEnv, observations: Any) -> Any:
    """
    Take an episode's observations through the wrappers of a vectorised environment, statistics frozen.

    :param env: The learner's environment
    :param observations: As one environment returns them from its reset on, ``[T, *obs_shape]`` or a dict of such
    :return: As the policy gets them
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here
    """
    check_vec_wrappers(env)
    for wrapper in reversed(list(wrappers_of(env))):
        if isinstance(wrapper, VecTransposeImage):
            observations = wrapper.transpose_observations(observations)
        elif isinstance(wrapper, VecNormalize):
            observations = wrapper.normalize_obs(observations)
        elif isinstance(wrapper, VecFrameStack):
            observations = _stack_frames(wrapper.stacked_obs, observations)
    return observations


def _stack_frames(stack: Any, observations: Any) -> Any:
    """One episode as SB3's ``StackedObservations`` stacks it: with zeros before its start."""
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
    :return: As the learner gets them: scaled by the frozen statistics of each VecNormalize
    """
    for wrapper in reversed(list(wrappers_of(env))):
        if isinstance(wrapper, VecNormalize):
            rewards = wrapper.normalize_reward(rewards)
    return rewards


def check_vec_wrappers(env: VecEnv) -> None:
    """
    :param env: The learner's environment
    :raises FeedbackError: If a wrapper changes observations in a way that isn't known here
    """
    unknown = [type(wrapper).__name__ for wrapper in wrappers_of(env) if not isinstance(wrapper, KNOWN_WRAPPERS)]
    if unknown:
        raise FeedbackError(
            f"{unknown[0]} changes observations in a way that can't be repeated for expert rows. "
            "Put a Gymnasium wrapper that does the same inside the environment instead."
        )


def check_expert_observes(env: VecEnv) -> None:
    """
    :param env: The learner's environment
    :raises FeedbackError: If a wrapper may change observations in a way that can't be undone for an ``expert=``
    """
    for wrapper in wrappers_of(env):
        if not _is_as_known(wrapper):
            raise FeedbackError(
                f"expert= is shown the environment's own observations, and {type(wrapper).__name__} may change them in a way "
                "that can't be undone. Ask the expert inside the environment instead: FeedbackWrapper(env, "
                "ExpertTeacher(expert)); or put a Gymnasium wrapper that does the same inside the environment."
            )


def as_environment_gave_them(env: VecEnv, observations: Any, *, before_statistics: bool = False) -> Any:
    """
    Undo the changes that SB3's buffers and its wrappers of vectorised environments make to observations.

    :param env: The learner's environment
    :param observations: Rows of a rollout buffer, ``[n, ...]`` or a dict of such
    :param before_statistics: Whether the rows are those that the innermost VecNormalize got, not those that left the last
        wrapper
    :return: The same in the layout and dtype of the environment's own space: of stacked frames the newest
    """
    vec_normalize = innermost_statistics(env)
    for wrapper in wrappers_of(env if vec_normalize is None or not before_statistics else vec_normalize.venv):
        if isinstance(wrapper, VecTransposeImage) and not wrapper.skip:
            observations = _with_channels_last(observations, getattr(wrapper, "image_space_keys", None))
        elif isinstance(wrapper, VecFrameStack):
            observations = _newest_frame(wrapper.stacked_obs, observations)
    space = innermost(env).observation_space
    if isinstance(space, spaces.Dict):
        return {key: _as_in_space(value, space[key]) for key, value in observations.items()}
    return _as_in_space(observations, space)


def innermost_statistics(env: VecEnv) -> VecNormalize | None:
    """
    :param env: The learner's environment
    :return: The VecNormalize that observations come to before any other changes their scale
    """
    found = [one for one in wrappers_of(env) if isinstance(one, VecNormalize) and one.norm_obs]
    return found[-1] if found else None


def observations_as_given(env: VecEnv, observations: Any) -> Any:
    """
    :param env: The learner's environment
    :param observations: The last that it returned, ``[n_envs, *obs_shape]`` or a dict of such
    :return: The same as the environments gave them; None if a wrapper isn't known here
    """
    if not all(isinstance(wrapper, KNOWN_WRAPPERS) for wrapper in wrappers_of(env)):
        return None
    vec_normalize = innermost_statistics(env)
    given = observations if vec_normalize is None else vec_normalize.old_obs
    return as_environment_gave_them(env, given, before_statistics=vec_normalize is not None)


def wrappers_of(env: VecEnv) -> Iterator[VecEnvWrapper]:
    """The wrappers of a vectorised environment, the outermost first."""
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv


def _is_as_known(wrapper: VecEnvWrapper) -> bool:
    """Whether a wrapper is one of SB3's, and takes steps as that does."""
    known = next((one for one in KNOWN_WRAPPERS if isinstance(wrapper, one)), None)
    return known is not None and all(
        getattr(type(wrapper), name) is getattr(known, name) for name in ("reset", "step_async", "step_wait", "step")
    )


def _with_channels_last(observations: Any, keys: list[str] | None) -> Any:
    """Undo VecTransposeImage: an image alone, or a dict's images by their keys."""
    if keys is None:
        return np.moveaxis(observations, 1, -1)
    return {key: np.moveaxis(value, 1, -1) if key in keys else value for key, value in observations.items()}


def _newest_frame(stack: Any, observations: Any) -> Any:
    """Undo SB3's ``StackedObservations``, which puts the newest frame last."""
    if isinstance(observations, dict):
        return {key: _newest_frame(stack.sub_stacked_observations[key], frames) for key, frames in observations.items()}
    size = observations.shape[stack.stack_dimension] // stack.n_stack
    return observations[:, -size:] if stack.channels_first else observations[..., -size:]


def _as_in_space(observations: np.ndarray, space: spaces.Space) -> np.ndarray:
    # Buffers give a Discrete observation one more dimension, and before SB3 2.3 hold every one as float32.
    return observations.reshape(len(observations), *(space.shape or ())).astype(space.dtype, copy=False)
