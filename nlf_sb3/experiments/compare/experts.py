"""Experts by name: what stands behind --expert."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gymnasium as gym
import numpy as np

from nlf_sb3.seeding import derived_seed
from nlf_sb3.segments import Observations
from nlf_sb3.teachers import Expert, LQRExpert, PolicyExpert
from nlf_sb3.teachers.experts import n_rows


class RandomExpert(Expert):
    """
    Acts at random, whatever it sees: the worst teacher who means no harm.

    :param action_space: What it draws from
    :param seed: Seed of its draws
    """

    label: Literal["sample", "mode"] = "sample"

    def __init__(self, action_space: gym.Space, seed: int | None) -> None:
        self._action_space = action_space
        self.seed(seed)

    def act(self, observations: Observations) -> np.ndarray:
        return np.stack([self._action_space.sample() for _ in range(n_rows(observations))])

    def seed(self, seed: int | None) -> None:
        self._action_space.seed(derived_seed(seed, "random expert"))


def make_expert(env_id: str, name: str, seed: int) -> Expert:
    """
    :param env_id: Gymnasium's id of the environment
    :param name: ``lqr``, ``random``, or the path of a saved model
    :param seed: Seed of what it draws
    :return: The expert
    :raises ValueError: If there is none of that name, or none for that environment
    """
    env = gym.make(env_id)
    try:
        if name == "lqr":
            return LQRExpert.from_env(env, seed=seed)
        if name == "random":
            return RandomExpert(env.action_space, seed)
    finally:
        env.close()
    if not Path(name).is_file():
        raise ValueError(f"got {name!r}, expected lqr, random, or a model's .zip.")
    return PolicyExpert.load(name, seed=seed)


def expert_return(env_id: str, name: str) -> float | None:
    """
    :param env_id: Gymnasium's id of the environment
    :param name: The expert's name
    :return: Its mean return, where it is known without measuring it
    """
    return None
