"""Whether a trained policy's spaces and an environment's can be about the same things."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

_IMAGE_DIMENSIONS = 3


def may_hold_the_same(own: Any, given: Any) -> bool:
    """
    >>> may_hold_the_same(spaces.Box(-1, 1, (2,)), spaces.Box(-5, 5, (2,)))
    True
    >>> may_hold_the_same(spaces.Discrete(2), spaces.Discrete(3))
    False

    :param own: A policy's observation or action space
    :param given: An environment's
    :return: False if they are of another kind or shape. Bounds of Boxes may differ: versions of one environment have others.
        So may the order of an image's axes, which SB3's policies change themselves. Of other spaces nothing is known
    """
    if not isinstance(own, spaces.Space) or not isinstance(given, spaces.Space):
        return True
    if isinstance(own, spaces.Dict) and isinstance(given, spaces.Dict):
        parts = own.spaces
        return parts.keys() == given.spaces.keys() and all(may_hold_the_same(parts[key], given.spaces[key]) for key in parts)
    known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict)
    kinds = [next((kind for kind in known if isinstance(space, kind)), None) for space in (own, given)]
    if None in kinds or kinds[0] is not kinds[1]:
        return None in kinds
    if isinstance(own, spaces.Discrete):
        return bool(own.n == given.n)  # type: ignore[attr-defined]
    if isinstance(own, spaces.MultiDiscrete):
        return np.array_equal(own.nvec, given.nvec)  # type: ignore[attr-defined]
    if own.shape is not None and len(own.shape) == _IMAGE_DIMENSIONS:
        return sorted(own.shape) == sorted(given.shape)  # type: ignore[arg-type]
    return own.shape == given.shape
