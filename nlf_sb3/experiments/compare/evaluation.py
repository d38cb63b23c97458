"""Evaluate a policy in environments of its own, and leave everybody's random stream as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th

from nlf_sb3.seeding import derived_generator
from nlf_sb3.segments import Observations

Predict = Callable[..., tuple[np.ndarray, Any]]
"""As a policy's ``predict`` in SB3: called with observations ``[n, *obs_shape]`` and ``deterministic=True``, it returns
environment-scale actions ``[n, *action_shape]``, and a state that nobody looks at."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put the process's random streams, Python's, NumPy's and torch's, back where they were."""
    states = random.getstate(), np.random.get_state(), th.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        th.set_rng_state(states[2])


class Evaluator:
    """
    Plays the same episodes at every call, all of them side by side.

    :param env_id: Gymnasium's id of the environment
    :param seed: What the episodes' seeds are derived from
    :param n_episodes: How many there are
    """

    def __init__(self, env_id: str, seed: int, n_episodes: int) -> None:
        with undisturbed():
            self._envs = [gym.make(env_id) for _ in range(n_episodes)]
        self._seeds: list[int] = derived_generator(seed, "evaluation episodes").integers(2**31, size=n_episodes).tolist()

    def returns(self, predict: Predict) -> np.ndarray:
        """
        :param predict: The policy
        :return: Undiscounted returns, ``[n_episodes]``
        """
        returns = np.zeros(len(self._envs))
        with undisturbed():
            observations = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, self._seeds, strict=True)]
            under_way = list(range(len(self._envs)))
            while under_way:
                actions, _ = predict(_stacked([observations[index] for index in under_way]), deterministic=True)
                going_on = []
                for index, action in zip(under_way, actions, strict=True):
                    observations[index], reward, terminated, truncated, _ = self._envs[index].step(action)
                    returns[index] += float(reward)
                    if not (terminated or truncated):
                        going_on.append(index)
                under_way = going_on
        return returns

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()


def _stacked(observations: list[Any]) -> Observations:
    if isinstance(observations[0], dict):
        return {key: np.stack([row[key] for row in observations]) for key in observations[0]}
    return np.stack(observations)
