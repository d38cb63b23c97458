"""Make a second environment that behaves as the first does, and tell whether it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from stable_baselines3.common.monitor import Monitor

from nlf_sb3.errors import TwinError
from nlf_sb3.wrappers.feedback import FeedbackWrapper

_KEEP_STATISTICS = (gym.wrappers.NormalizeReward, gym.wrappers.NormalizeObservation)


def make_twin(env: gym.Env, twin: Callable[[], gym.Env] | None = None) -> gym.Env:
    """
    A second environment that behaves as the first does.

    :param env: The environment
    :param twin: Makes the twin, where ``env.spec`` doesn't
    :return: The twin
    :raises TwinError: If there is no way to make one, it has other spaces, or its wrappers make other steps
    """
    copy = _twin_from_spec(env) if twin is None else twin()
    if copy.unwrapped is env.unwrapped:
        raise TwinError("twin= returned the environment itself. Return a new one: both are stepped, each on its own.")
    _check_wrappers(env, copy)
    for name in ("observation_space", "action_space"):
        if getattr(copy, name) != getattr(env, name):
            raise TwinError(
                f"the twin's {name} is {getattr(copy, name)}, the environment's {getattr(env, name)}. Make them equal."
            )
    return copy


def _check_wrappers(env: gym.Env, twin: gym.Env) -> None:
    """Raise on wrappers by which what the expert gets would be in another scale than the agent's; no step need show that."""
    for wrapper in (*_wrappers_of(env), *_wrappers_of(twin)):
        if isinstance(wrapper, _KEEP_STATISTICS) and getattr(wrapper, "update_running_mean", True):
            raise TwinError(
                f"{type(wrapper).__name__} normalises by what it has met, and meets others in the twin, so that the expert's "
                "episodes would be in another scale than the agent's. Use VecNormalize around the vectorised one instead."
            )
    own, its = ([type(wrapper).__name__ for wrapper in _wrappers_of(one) if _changes_steps(wrapper)] for one in (env, twin))
    if own != its:
        raise TwinError(
            f"the twin has the wrappers {its}, the environment {own}, from the outermost on: they may change rewards, "
            "observations, actions or ends. Give both the same."
        )


def _wrappers_of(env: gym.Env) -> list[gym.Wrapper]:
    wrappers = []
    while isinstance(env, gym.Wrapper):
        wrappers.append(env)
        env = env.env
    return wrappers


def _changes_steps(wrapper: gym.Wrapper) -> bool:
    return isinstance(wrapper, (gym.ActionWrapper, gym.ObservationWrapper, gym.RewardWrapper, gym.wrappers.TimeLimit))


def _twin_from_spec(env: gym.Env) -> gym.Env:
    mend = "Pass twin=, a function that makes another one, for example twin=lambda: MyWrapper(gym.make(...))."
    try:
        spec = env.spec
        if spec is None:
            raise TwinError(f"{env} has no spec, so it can't be made a second time. {mend}")
        if spec.nondeterministic:
            raise TwinError(f"{spec.id} is registered as nondeterministic: a twin would leave it. Use another environment.")
        return gym.make(_spec_of_twin(spec), disable_env_checker=True)  # a twin opens no window
    except (gym.error.Error, ValueError, TypeError, AttributeError) as error:
        raise TwinError(f"{env} can't be made a second time from its spec ({error}). {mend}") from error


def _spec_of_twin(spec: EnvSpec) -> EnvSpec:
    """
    The same environment without a window or SB3's monitor, and without teachers, who answer the agent's steps alone.

    A teacher whose score is part of the reward stays: the expert's steps are paid by it too.
    """
    feedback = f"{FeedbackWrapper.__module__}:{FeedbackWrapper.__name__}"

    def is_needed(wrapper: WrapperSpec) -> bool:
        if wrapper.entry_point == f"{Monitor.__module__}:{Monitor.__name__}":
            return False
        return wrapper.entry_point != feedback or (wrapper.kwargs or {}).get("score_as_reward") is not None

    kwargs = {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
    return replace(spec, kwargs=kwargs, additional_wrappers=tuple(filter(is_needed, spec.additional_wrappers)))


def same_observation(first: Any, second: Any) -> bool:
    """Whether two observations are equal, number by number."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_observation(first[key], second[key]) for key in first)
    return bool(np.array_equal(first, second, equal_nan=np.asarray(first).dtype.kind == "f"))
