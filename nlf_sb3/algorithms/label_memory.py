"""Keep the labels of earlier rollouts, so that what a person said once teaches more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nlf_sb3.observations import blank_observations, draw_rows, index_observations


class ShownRows(NamedTuple):
    """
    K states and what an expert did there.

    :param observations: In the policy's scale, as rollout buffers hold them, ``[K, *obs_shape]`` or a dict of such
    :param actions: Environment-scale, ``[K, *action_shape]``
    :param weights: ``[K]``
    :param is_mode: Whether an action is the expert's mode, ``[K]``
    :param action_masks: Which choices were allowed, ``[K, n_choices]``; None without masks
    """

    observations: Any
    actions: np.ndarray
    weights: np.ndarray
    is_mode: np.ndarray
    action_masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def take(self, rows: np.ndarray) -> ShownRows:
        """
        :param rows: Indices, ``[k]``
        :return: These rows
        """
        return ShownRows(*_each(lambda column: index_observations(column, rows), self))


class LabelMemory:
    """
    The latest labels, as DAgger aggregates them (Ross et al., 2011, https://arxiv.org/abs/1011.0686).

    :param capacity: How many are kept; the oldest make room
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._rows: ShownRows | None = None
        self._n_rows = 0
        self._next = 0

    def __len__(self) -> int:
        return self._n_rows

    def add(self, new: ShownRows) -> None:
        """
        :param new: Rows to keep
        """
        new = new.take(np.arange(len(new))[-self._capacity :])
        if not len(new):
            return
        if self._rows is None:
            self._rows = ShownRows(*_each(lambda column: blank_observations(column, self._capacity), new))
        self._rows, new = with_equal_masks([self._rows, new])
        places = (self._next + np.arange(len(new))) % self._capacity
        for kept, column in zip(self._rows, new, strict=True):
            _put(kept, places, column)
        self._next = int(places[-1] + 1) % self._capacity
        self._n_rows = min(self._n_rows + len(new), self._capacity)

    def draw(self, n_rows: int, rng: np.random.Generator) -> ShownRows | None:
        """
        :param n_rows: How many at most
        :param rng: Draws them, none twice
        :return: The rows; None if there are none
        """
        n_rows = min(n_rows, self._n_rows)
        if self._rows is None or not n_rows:
            return None
        return self._rows.take(draw_rows(self._rows.observations, self._n_rows, n_rows, rng))


def with_equal_masks(parts: Sequence[ShownRows]) -> list[ShownRows]:
    """
    :param parts: Rows, some with masks and some without
    :return: The same rows: all with masks, or none. Where there were no masks, everything was allowed.
    """
    n_choices = next((rows.action_masks.shape[1] for rows in parts if rows.action_masks is not None), None)
    if n_choices is None:
        return list(parts)
    everything = [np.ones((len(rows), n_choices), dtype=bool) for rows in parts]
    return [
        ShownRows(*rows[:4], full) if rows.action_masks is None else rows for rows, full in zip(parts, everything, strict=True)
    ]


def _each(function: Any, columns: ShownRows) -> Any:
    return [None if column is None else function(column) for column in columns]


def _put(kept: Any, places: np.ndarray, column: Any) -> None:
    if isinstance(column, dict):
        for key, value in column.items():
            kept[key][places] = value
    elif column is not None:
        kept[places] = column
