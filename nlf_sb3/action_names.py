"""What people call an action's dimensions and the ways they can go, and numbers that mean the same in every space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Dimension:
    """
    Names of one dimension of an action.

    >>> Dimension("push", low="left", high="right")
    Dimension(name='push', low=('left',), high=('right',))

    :param name: What the dimension is called
    :param low: What its lower values are called; the first name is the one that teachers use
    :param high: What its higher values are called
    """

    name: str
    low: tuple[str, ...] = ("down", "lower")
    high: tuple[str, ...] = ("up", "higher")

    def __init__(self, name: str, low: str | Sequence[str] = ("down", "lower"), high: str | Sequence[str] = ("up", "higher")):
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "low", (low,) if isinstance(low, str) else tuple(low))
        object.__setattr__(self, "high", (high,) if isinstance(high, str) else tuple(high))
        words = (name, *self.low, *self.high)
        if not self.low or not self.high or not all(isinstance(word, str) and word.strip() for word in words):
            raise ValueError(f"Dimension: got {words!r}, expected a name, and words for lower and for higher values.")
        if set(map(str.lower, self.low)) & set(map(str.lower, self.high)):
            raise ValueError(f"Dimension {name!r}: a word stands for lower and for higher values, in {words!r}. Keep one.")

    def towards(self, direction: float) -> str:
        """
        :param direction: Below or above 0
        :return: The word for it
        """
        return self.low[0] if direction < 0 else self.high[0]


class ActionNames:
    """
    An action space whose dimensions have names.

    Discrete and MultiDiscrete choices count as steps of an order: of ``Discrete(2)`` 0 is the lower value, 1 the higher.

    >>> joints = [Dimension("thigh", "back", "forward"), Dimension("foot", "back", "forward")]
    >>> ActionNames(spaces.Box(-1, 1, (2,)), joints).n_dimensions
    2

    :param space: A Box, Discrete or MultiDiscrete space
    :param dimensions: One for each dimension of the flattened action; None for ordinals, down and up
    :raises TypeError: For dimensions that aren't several :class:`Dimension`
    :raises ValueError: For another space, or another number of dimensions
    """

    def __init__(self, space: spaces.Space, dimensions: Sequence[Dimension] | None = None) -> None:
        if isinstance(space, spaces.Box):
            low, high, n_dimensions = space.low.reshape(-1), space.high.reshape(-1), int(np.prod(space.shape))
        elif isinstance(space, spaces.Discrete):
            low, high, n_dimensions = np.array([space.start]), np.array([space.start + space.n - 1]), 1
        elif isinstance(space, spaces.MultiDiscrete) and len(space.nvec.shape) == 1:
            low = np.asarray(getattr(space, "start", np.zeros_like(space.nvec)))
            high, n_dimensions = low + space.nvec - 1, len(space.nvec)
        else:
            raise ValueError(f"action space: got {space}, expected Box, Discrete or MultiDiscrete of one axis.")
        self.space = space
        self.is_discrete = not isinstance(space, spaces.Box)
        self.low, self.high = low.astype(np.float64), high.astype(np.float64)
        self.dimensions = _default_dimensions(n_dimensions) if dimensions is None else _several(dimensions)
        if len(self.dimensions) != n_dimensions:
            raise ValueError(f"dimensions: got {len(self.dimensions)}, expected {n_dimensions} for {space}.")
        span = self.high - self.low
        self.half_range = np.where(np.isfinite(span) & (span > 0), span / 2, 1.0)

    @property
    def n_dimensions(self) -> int:
        """Dimensions of the flattened action."""
        return len(self.dimensions)

    def flatten(self, actions: Any) -> np.ndarray:
        """
        :param actions: Environment-scale, ``[n, *action_shape]``
        :return: ``[n, n_dimensions]`` floats
        """
        actions = np.asarray(actions)
        rows: np.ndarray = actions.reshape(len(actions), -1).astype(np.float64)
        return rows

    def unflatten(self, rows: np.ndarray) -> np.ndarray:
        """
        Rows as actions of the space: clipped to its bounds, and rounded where it counts.

        :param rows: ``[n, n_dimensions]`` floats
        :return: Environment-scale, ``[n, *action_shape]``, of the space's dtype
        """
        rows = np.clip(rows, self.low, self.high)
        dtype: Any = self.space.dtype
        if np.dtype(dtype).kind in "iu":
            rows = np.rint(rows)
        return rows.astype(dtype).reshape(len(rows), *(self.space.shape or ()))


def _several(dimensions: Any) -> tuple[Dimension, ...]:
    """Dimensions as a tuple."""
    if isinstance(dimensions, Sequence) and all(isinstance(dimension, Dimension) for dimension in dimensions):
        return tuple(dimensions)
    raise TypeError(
        f"dimensions: got {dimensions!r}, expected a list with a Dimension for each dimension of the action. "
        'Write [Dimension("push", low="left", high="right")].'
    )


def _default_dimensions(n_dimensions: int) -> tuple[Dimension, ...]:
    if n_dimensions == 1:
        return (Dimension("action"),)
    return tuple(Dimension(_ORDINALS[i] if i < len(_ORDINALS) else f"number {i + 1}") for i in range(n_dimensions))


def as_action_names(names: ActionNames | spaces.Space) -> ActionNames:
    """
    :param names: Names, or an action space for names by default
    :return: Names
    """
    return names if isinstance(names, ActionNames) else ActionNames(names)
