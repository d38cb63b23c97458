"""Check observations that were recorded elsewhere against an environment's observation space."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.observations import ObservationRows
from nlf_sb3.validation import bounds_of

_FAR = 10.0
"""Widths of a float Box that a value may be outside. Bounds are often too narrow in practice; units differ by more."""
_IMAGE_DIMENSIONS = 3
_WHITE = 255


def check_observations(
    observations: Any,
    space: spaces.Space,
    n_rows: int,
    source: str = "demonstrations",
    *,
    boxes_are_strict: bool = True,
) -> Any:
    """
    Check a batch of recorded observations, and cast those of whole numbers to the space's dtype.

    Whole numbers (Discrete, MultiDiscrete, MultiBinary and integer Boxes such as images) have to lie in the space. Floats
    may leave theirs: what environments return is often slightly outside. They may not lie so far outside that their unit
    must be another.

    :param observations: Raw, ``[n, *obs_shape]`` or a dict of such; :class:`~nlf_sb3.observations.ObservationRows` check
        themselves
    :param space: The space of the environment's own observations
    :param n_rows: n
    :param source: What the observations belong to, for the error message
    :param boxes_are_strict: False leaves out the bounds of Boxes, for what an environment's own twin returned
    :return: The same observations
    :raises FeedbackError: With the first row that doesn't fit, what was expected and how to mend it
    """
    if isinstance(observations, ObservationRows):
        return observations
    if isinstance(observations, dict) != isinstance(space, spaces.Dict):
        raise FeedbackError(f"{source}: got {type(observations).__name__} observations for {space}.")
    if isinstance(space, spaces.Dict):
        if set(observations) != set(space.spaces):
            raise FeedbackError(f"{source}: got keys {sorted(observations)}, expected {sorted(space.spaces)}.")
        return {
            key: check_rows(np.asarray(array), space[key], n_rows, f"{source}: observations[{key!r}]", boxes_are_strict)
            for key, array in observations.items()
        }
    return check_rows(np.asarray(observations), space, n_rows, f"{source}: observations", boxes_are_strict)


def check_rows(array: np.ndarray, space: spaces.Space, n_rows: int, name: str, boxes_are_strict: bool = True) -> np.ndarray:
    """
    The same for an array of a space that is no dict.

    :param array: ``[n, *obs_shape]``
    :param space: Its space
    :param n_rows: n
    :param name: What the array is called in the error message
    :param boxes_are_strict: As in :func:`check_observations`
    :return: The same observations
    :raises FeedbackError: As :func:`check_observations`
    """
    shape = (n_rows, *(space.shape or ()))
    if array.shape != shape:
        raise FeedbackError(f"{name} has shape {array.shape}, expected {shape} for {space}.{_hint_at_channels(array, shape)}")
    if not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return array
    if array.dtype.kind not in "biuf":
        raise FeedbackError(f"{name}: got dtype {array.dtype}, expected numbers of {space}.")
    if isinstance(space, spaces.Box) and np.dtype(space.dtype).kind == "f":
        if boxes_are_strict:
            _check_unit(array, space, name)
        return array
    return _check_whole_numbers(array, space, name, boxes_are_strict)


def _check_whole_numbers(array: np.ndarray, space: Any, name: str, is_strict: bool) -> np.ndarray:
    low, high = bounds_of(space)
    is_box, of_dtype = isinstance(space, spaces.Box), np.dtype(space.dtype)
    if is_box and of_dtype.kind in "iu":
        limits = np.iinfo(of_dtype)
        if not is_strict:
            low, high = limits.min, limits.max
        if array.dtype == of_dtype and np.all(low == limits.min) and np.all(high == limits.max):
            return array
    _check_scale_of_images(array, space, name)
    fits = (array >= low) & (array <= high)  # False for NaN
    if array.dtype.kind == "f":
        fits &= np.floor(array) == array
    if not fits.all():
        value, where = _first(array, fits)
        raise FeedbackError(
            f"{name}: {where} holds {value}, expected whole numbers inside {space}. Show observations as the environment "
            "returns them, before any wrapper around it changes them."
        )
    return array.astype(space.dtype, copy=False)


def _check_scale_of_images(array: np.ndarray, space: Any, name: str) -> None:
    """Raise on images between 0 and 1 where the environment's go up to 255. Other bounds are those of grids and maps."""
    is_image = isinstance(space, spaces.Box) and len(space.shape) == _IMAGE_DIMENSIONS and bool(np.all(space.high == _WHITE))
    if not is_image or array.dtype.kind not in "fb" or not array.size:
        return
    least, most = float(array.min()), float(array.max())
    if least >= 0 and 0 < most <= 1:
        is_whole = bool(np.all(np.floor(array) == array)) if array.dtype.kind == "f" else True
        unless = f" If the environment does return 0 and 1, cast them: images.astype(np.{space.dtype})." if is_whole else ""
        raise FeedbackError(
            f"{name}: got {array.dtype} from {least:.4g} to {most:.4g}, expected whole numbers inside {space}. "
            f"They look like images that were divided by {_WHITE}. Multiply them again: "
            f"np.rint({_WHITE} * images).astype(np.{space.dtype}).{unless}"
        )


def _check_unit(array: np.ndarray, space: spaces.Box, name: str) -> None:
    """Raise on numbers so far outside a float Box that they must be in another unit."""
    if array.dtype.kind == "b" or not array.size:
        return
    least, most = array.min(axis=0), array.max(axis=0)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        margin = _FAR * (high - low)
        is_bounded = np.isfinite(margin) & (margin > 0)
        if not np.any(is_bounded & ((least < low - margin) | (most > high + margin))):
            return
        value, where = _first(array, ~is_bounded | ((array >= low - margin) & (array <= high + margin)))
    raise FeedbackError(
        f"{name}: {where} holds {value}, far outside {space}. Are they in another unit, or normalised? Show observations as "
        "the environment returns them. If it does return such numbers, widen the bounds of its observation space."
    )


def _first(array: np.ndarray, fits: np.ndarray) -> tuple[Any, str]:
    """The first value that doesn't fit, and its row."""
    place = np.unravel_index(int(np.argmin(fits)), array.shape)
    bad = int((~fits.reshape(len(fits), -1).all(axis=1)).sum())
    return array[place].item(), f"row {place[0]} ({bad} of {len(array)} rows)"


def _hint_at_channels(array: np.ndarray, shape: tuple[int, ...]) -> str:
    if array.ndim != len(shape) or array.ndim != _IMAGE_DIMENSIONS + 1:
        return ""
    if np.moveaxis(array, 1, -1).shape == shape:
        return " Its channels come first: np.moveaxis(images, 1, -1) puts them last."
    if np.moveaxis(array, -1, 1).shape == shape:
        return " Its channels come last: np.moveaxis(images, -1, 1) puts them first."
    return ""
