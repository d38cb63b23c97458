"""Keep the labels of earlier rollouts, so that each label teaches more than once."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlf_sb3.observations import blank_observations, draw_rows
from nlf_sb3.rows import LabelledRows, with_equal_masks


class LabelMemory:
    """
    The latest labels, as DAgger aggregates them (Ross et al., 2011, https://arxiv.org/abs/1011.0686).

    :param capacity: Number of labels that are kept. New ones replace the oldest.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._rows: LabelledRows | None = None
        self._n_rows = 0
        self._next = 0

    def __len__(self) -> int:
        return self._n_rows

    def add(self, new: LabelledRows) -> None:
        """
        :param new: Rows to keep
        """
        new = new.take(np.arange(len(new))[-self.capacity :])
        if not len(new):
            return
        if self._rows is None:
            self._rows = LabelledRows(*_each(lambda column: blank_observations(column, self.capacity), new))
        self._rows, new = with_equal_masks([self._rows, new])
        places = (self._next + np.arange(len(new))) % self.capacity
        for kept, column in zip(self._rows, new, strict=True):
            _put(kept, places, column)
        self._next = int(places[-1] + 1) % self.capacity
        self._n_rows = min(self._n_rows + len(new), self.capacity)

    def draw(self, n_rows: int, rng: np.random.Generator) -> LabelledRows | None:
        """
        :param n_rows: Largest number of rows
        :param rng: Draws them, none twice
        :return: The rows; None if there are none
        """
        n_rows = min(n_rows, self._n_rows)
        if self._rows is None or not n_rows:
            return None
        return self._rows.take(draw_rows(self._rows.observations, self._n_rows, n_rows, rng))


def _each(function: Any, columns: LabelledRows) -> Any:
    return [None if column is None else function(column) for column in columns]


def _put(kept: Any, places: np.ndarray, column: Any) -> None:
    if isinstance(column, dict):
        for key, value in column.items():
            kept[key][places] = value
    elif column is not None:
        kept[places] = column
