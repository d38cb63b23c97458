"""Ask vectorised environments about themselves. Those of other libraries answer less than SB3's own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from nlf_sb3.errors import FeedbackError


def innermost(env: VecEnv) -> VecEnv:
    """
    The vectorised environment inside all of SB3's wrappers, which has the spaces of the environment's own observations.

    Not ``env.unwrapped``: an adapter of a batched simulator may return the simulator there, with batched spaces.

    :param env: A vectorised environment
    :return: The one inside its wrappers
    """
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env


def hands_out_copies(env: VecEnv) -> bool:
    """
    :param env: A vectorised environment
    :return: Whether it is known to return new arrays at each step, which no later step changes
    """
    chain = [env]
    while isinstance(env, VecEnvWrapper):
        env = env.venv
        chain.append(env)
    return all(type(one).__module__.partition(".")[0] in ("stable_baselines3", "nlf_sb3") for one in chain)


def check_is_single(env: Any, wrapper: str) -> None:
    """
    :param env: The environment to wrap
    :param wrapper: The name of the wrapper
    :raises FeedbackError: If it steps many environments at once
    """
    if isinstance(env, (VecEnv, gym.vector.VectorEnv)):
        raise FeedbackError(
            f"{wrapper} goes around a single environment, and {type(env).__name__} steps {env.num_envs} of them at once. Put "
            f"{wrapper} around each, before they are vectorised. Where there are none, as in a batched simulator, give the "
            "algorithm expert= or demonstrations=."
        )


def single_environments(env: VecEnv) -> list[Any]:
    """
    :param env: A vectorised environment
    :return: The environments that it holds in this process in a list ``envs``, as ``DummyVecEnv`` does; else none
    """
    envs = vars(innermost(env)).get("envs")
    return list(envs) if isinstance(envs, (list, tuple)) else []


def wrapped_environments(env: VecEnv, wrapper: type[gym.Wrapper]) -> list[int]:
    """
    Which environments have a wrapper. One that can't say counts as without: then step infos alone tell.

    :param env: A vectorised environment
    :param wrapper: A wrapper of this package
    :return: Indices of environments
    """
    flags = _answers(env, env.num_envs, "env_is_wrapped", wrapper)
    return [index for index, flag in enumerate(flags) if isinstance(flag, (bool, np.bool_)) and flag]


def ask_wrappers(env: VecEnv, wrapper: type[gym.Wrapper], name: str) -> dict[int, Any]:
    """
    :param env: A vectorised environment
    :param wrapper: The wrapper that is asked
    :param name: An attribute that no other wrapper has
    :return: Its value in each environment that has the wrapper, by the environment's index; empty if they can't be asked
    """
    wrapped = wrapped_environments(env, wrapper)
    answers = _answers(env, len(wrapped), "env_method", "get_wrapper_attr", name, indices=wrapped) if wrapped else []
    return dict(zip(wrapped, answers, strict=True)) if answers else {}


def _answers(env: VecEnv, n_answers: int, method: str, *args: Any, **kwargs: Any) -> list[Any]:
    """The answers of a method of SB3's interface, one for each environment; empty without that method, or if it fails."""
    try:
        answers = list(getattr(env, method)(*args, **kwargs))
    except (EOFError, ConnectionError):  # a worker process is gone
        raise
    except Exception:  # adapters raise NotImplementedError, AttributeError or errors of their own, or return None
        return []
    return answers if len(answers) == n_answers else []
