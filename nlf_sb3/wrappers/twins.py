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


def make_twin(env: gym.Env, twin: Callable[[], gym.Env] | None = None) -> gym.Env:
    """
    A second environment that behaves as the first does.

    :param env: The environment
    :param twin: Makes the twin, where ``env.spec`` doesn't
    :return: The twin
    :raises TwinError: If there is no way to make one, or it has other spaces
    """
    copy = _twin_from_spec(env) if twin is None else twin()
    if copy.unwrapped is env.unwrapped:
        raise TwinError("twin= returned the environment itself. Return a new one: both are stepped, each on its own.")
    for name in ("observation_space", "action_space"):
        if getattr(copy, name) != getattr(env, name):
            raise TwinError(
                f"the twin's {name} is {getattr(copy, name)}, the environment's {getattr(env, name)}. Make them equal."
            )
    return copy


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
