"""Experts of graded quality, by name: good, middling, bad and wrong ones, to see what a method makes of each."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from nlf_sb3.seeding import derived_seed
from nlf_sb3.segments import Observations
from nlf_sb3.teachers import Expert, LQRExpert, PolicyExpert
from nlf_sb3.teachers.experts import n_rows

QUALITIES = ("100", "75", "50", "25")
"""Names of the shipped policies: about how many percent of the best one's mean return each has."""
RETURNS_FILE = "returns.json"
"""Beside the weights: what each expert was measured to return."""
_FOLDER = Path(str(files("nlf_sb3") / "assets" / "experts"))


class NegatedExpert(Expert):
    """
    An expert that does the opposite of another one.

    In Box spaces the action is mirrored at the middle of the box, dimension by dimension, or at 0 where a dimension has
    an open end. In Discrete spaces of n actions it is the one n // 2 further on: with two, the other.

    :param expert: The other one
    :param action_space: Where it acts
    :raises ValueError: For any other space
    """

    def __init__(self, expert: Expert, action_space: spaces.Space) -> None:
        if not isinstance(action_space, (spaces.Box, spaces.Discrete)):
            raise ValueError(f"negated: got actions in {action_space}, expected a Box or Discrete space.")
        self.expert = expert
        self.action_space = action_space
        self.label = expert.label

    def seed(self, seed: int | None) -> None:
        self.expert.seed(seed)

    def act(self, observations: Observations) -> np.ndarray:
        actions = self.expert.act(observations)
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            opposite: np.ndarray = space.start + (actions - space.start + space.n // 2) % space.n
        else:
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            opposite = np.where(bounded, space.low + space.high, 0) - actions
        return opposite.astype(space.dtype)


class RandomExpert(Expert):
    """
    Someone who knows nothing: uniform in the action space, whatever the observation.

    :param action_space: Where it acts; its own generator is left alone
    :param seed: Seed of the expert's generator
    """

    label: Literal["sample", "mode"] = "sample"

    def __init__(self, action_space: spaces.Space, seed: int | None = 0) -> None:
        self.action_space = copy.deepcopy(action_space)
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        self.action_space.seed(derived_seed(seed, "random expert"))

    def act(self, observations: Observations) -> np.ndarray:
        return np.stack([np.asarray(self.action_space.sample()) for _ in range(n_rows(observations))])


def make_expert(env_id: str, name: str, seed: int | None = 0, *, deterministic: bool = True) -> Expert:
    """
    :param env_id: Where it is to act
    :param name: ``"100"``, ``"75"``, ``"50"`` or ``"25"``: a shipped policy with about that percentage of the best one's
        return. ``"negated"``: the opposite of ``"100"``. ``"random"``: uniform actions. ``"lqr"``: a linear-quadratic
        regulator, where there is one. Anything else: the file of a saved model, ``.zip``.
    :param seed: Seed of the expert's generator, if it draws anything
    :param deterministic: Let policies act with their mode instead of a sample
    :return: The expert
    :raises ValueError: If there is no such expert
    :raises FileNotFoundError: If there is no such file
    """
    env = _make_env(env_id)
    try:
        if name in QUALITIES:
            return _shipped(env_id, env, name, seed, deterministic)
        if name == "negated":
            return NegatedExpert(_shipped(env_id, env, "100", seed, deterministic), env.action_space)
        if name == "random":
            return RandomExpert(env.action_space, seed)
        if name == "lqr":
            return LQRExpert.from_env(env, seed=seed)
        if name.endswith(".zip"):
            return _from_file(env, name, seed, deterministic)
    finally:
        env.close()
    raise ValueError(f"expert: got {name!r} for {env_id}, expected {_names(env_id)}.")


def expert_return(env_id: str, name: str) -> float | None:
    """
    :param env_id: The environment
    :param name: As in :func:`make_expert`
    :return: The mean return that was measured over 100 episodes, policies acting with their mode; None for what wasn't
        measured, such as a file of the user's
    """
    path = _FOLDER / env_id / RETURNS_FILE
    if not path.exists():
        return None
    measured = json.loads(path.read_text())["returns"].get(name)
    return None if measured is None else float(measured["mean"])


def believed_return(env_id: str, name: str) -> float | None:
    """
    What an arm is told of its expert's return: nothing of the wrong ones, since who knew wouldn't ask them.

    :param env_id: The environment
    :param name: As in :func:`make_expert`
    :return: As :func:`expert_return`
    """
    return None if name in ("negated", "random") else expert_return(env_id, name)


def shipped_environments() -> list[str]:
    """
    :return: The environments that experts of graded quality are shipped for
    """
    return sorted(path.parent.name for path in _FOLDER.glob(f"*/{RETURNS_FILE}"))


def _names(env_id: str) -> str:
    """What :func:`make_expert` knows for an environment, as the end of a sentence."""
    shipped = [*QUALITIES, "negated"] if env_id in shipped_environments() else []
    return f"{', '.join([*shipped, 'random', 'lqr'])} or the .zip of a saved model"


def _shipped(env_id: str, env: gym.Env, name: str, seed: int | None, deterministic: bool) -> Expert:
    path = _FOLDER / env_id / f"{name}.zip"
    if not path.exists():
        raise ValueError(
            f"expert: none of quality {name} is shipped for {env_id}, only for {', '.join(shipped_environments())}. "
            f"Expected {_names(env_id)}."
        )
    # The environment's own spaces, since NumPy and Gymnasium don't read what later releases of theirs have pickled.
    spaces_of_env = {"observation_space": env.observation_space, "action_space": env.action_space}
    return PolicyExpert.load(path, deterministic=deterministic, seed=seed, custom_objects=spaces_of_env)


def _from_file(env: gym.Env, path: str, seed: int | None, deterministic: bool) -> Expert:
    expert = PolicyExpert.load(path, deterministic=deterministic, seed=seed)
    for name in ("observation_space", "action_space"):
        its_own, expected = getattr(expert.policy, name), getattr(env, name)
        if its_own.shape != expected.shape or type(its_own) is not type(expected):
            raise ValueError(f"expert: the {name} of {path} is {its_own}, expected {expected}, the environment's.")
    return expert


def _make_env(env_id: str) -> gym.Env:
    try:
        env: gym.Env = gym.make(env_id)
    except gym.error.Error as error:
        raise ValueError(f"expert: Gymnasium can't make {env_id}: {str(error).splitlines()[0]}") from error
    return env
