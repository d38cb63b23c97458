"""The latest steps of each environment, for labels that arrive after their rollout: people answer late."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nlf_sb3.observations import blank_observations, index_observations


class StepId(NamedTuple):
    """
    A step of a training.

    :param env: Index of its environment
    :param step: Number of steps that this environment had taken before it
    """

    env: int
    step: int


class RecentSteps:
    """
    A ring of the latest steps. Its size does not grow.

    :param capacity: Number of steps of each environment that are kept
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._observations: Any = None
        self._masks: np.ndarray | None = None
        self.n_steps = 0
        """Number of steps that each environment has taken."""

    def add(self, observations: Any, action_masks: np.ndarray | None = None) -> None:
        """
        :param observations: The states that the policy acted in, ``[n_envs, *obs_shape]`` or a dict of such
        :param action_masks: The choices that were allowed, ``[n_envs, n_choices]``; None without masks
        """
        place = self.n_steps % self._capacity
        if self._observations is None:
            self._observations = _ring(observations, self._capacity)
        _assign(self._observations, place, observations)
        if self._masks is None and action_masks is not None:
            self._masks = np.ones((self._capacity, *action_masks.shape), dtype=bool)
        if self._masks is not None:  # without masks everything is allowed
            self._masks[place] = True if action_masks is None else action_masks
        self.n_steps += 1

    def holds(self, step: StepId) -> bool:
        """
        :param step: A step
        :return: Whether the ring still has it
        """
        return max(self.n_steps - self._capacity, 0) <= step.step < self.n_steps

    def observation(self, step: StepId) -> Any:
        """
        :param step: A step that the ring holds
        :return: The state that the policy acted in, ``[1, *obs_shape]`` or a dict of such
        """
        at_step = index_observations(self._observations, step.step % self._capacity)
        return index_observations(at_step, slice(step.env, step.env + 1))

    def action_masks(self, step: StepId) -> np.ndarray | None:
        """
        :param step: A step that the ring holds
        :return: The choices that were allowed, ``[1, n_choices]``; None without masks
        """
        return None if self._masks is None else self._masks[step.step % self._capacity, step.env : step.env + 1]


def _ring(rows: Any, capacity: int) -> Any:
    if isinstance(rows, dict):
        return {key: _ring(value, capacity) for key, value in rows.items()}
    if isinstance(rows, np.ndarray):
        return np.zeros((capacity, *rows.shape), dtype=rows.dtype)
    return [blank_observations(rows, len(rows)) for _ in range(capacity)]


def _assign(ring: Any, place: int, rows: Any) -> None:
    if isinstance(ring, dict):
        for key, value in ring.items():
            _assign(value, place, rows[key])
    else:
        ring[place] = rows
