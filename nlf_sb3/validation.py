"""Check actions that come from people and experts against an action space, and cast them to its dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import ActionShapeError, FeedbackError

_KIND_NAMES = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats", "c": "complex numbers"}


def check_actions(
    actions: Any,
    space: spaces.Space,
    n_rows: int,
    source: str = "expert action",
    row_name: Callable[[int], str] = "row {}".format,
    *,
    is_single: bool = False,
) -> np.ndarray:
    """
    Check a batch of actions and cast it, without loss, to the space's dtype.

    Floats are rounded to the dtype of the space; everything else that doesn't fit (another kind of
    number, another shape, an integer that the dtype can't hold, a value outside the space) is an error.
    Nothing is clipped.

    :param actions: Array-like of shape ``[n_rows, *action_shape]``
    :param space: A Box, Discrete, MultiDiscrete or MultiBinary space
    :param n_rows: The number of rows expected
    :param source: What the actions are, for the error message
    :param row_name: What a row is called there
    :param is_single: Whether they are one action, whose row nobody wrote: the message is then about ``[*action_shape]``
    :return: Array of shape ``[n_rows, *action_shape]`` with the space's dtype
    :raises FeedbackError: With what came, what was expected and how to mend it
    """
    if _is_one_choice(actions, space, n_rows) or _fits_box(actions, space, n_rows):
        return actions  # type: ignore[no-any-return]
    if not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        raise FeedbackError(f"Action space {space} is not supported: use Box, Discrete, MultiDiscrete or MultiBinary.")
    if actions is None:
        raise FeedbackError(
            f"{source}: got None, expected {n_rows} action(s) of {space}. "
            "Return an array of shape [n, *action_shape], one row for each observation."
        )
    try:
        array = np.asarray(actions)
    except ValueError as error:  # ragged nesting
        raise ActionShapeError(
            f"{source}: {actions!r:.80} is not an array ({error!s:.160}). Return rows of equal shape."
        ) from error
    shape = (n_rows, *(space.shape or ()))
    if array.dtype.kind not in _KIND_NAMES:
        raise FeedbackError(f"{source}: got {_preview(array)} of dtype {array.dtype}, expected numbers of {space}.")
    if array.shape != shape and is_single:
        mend = f"Give one action of shape {shape[1:]}, without an axis for rows." if shape[1:] else "Give one number."
        raise ActionShapeError(f"{source}: got shape {array.shape[1:]}, expected {shape[1:]} for {space}. {mend}")
    if array.shape != shape:
        raise ActionShapeError(
            f"{source}: got shape {array.shape}, expected {shape} for {space}. "
            "Return one row for each observation, and only the action in it."
        )
    _check_kind(array, space, source)
    with np.errstate(over="ignore"):  # infinity is outside every space, and named below
        cast = array.astype(space.dtype, copy=False)
    if array.dtype.kind in "biu" and not np.array_equal(cast, array):
        raise FeedbackError(f"{source}: {_preview(array)} does not fit into {space.dtype}. Use values that {space} holds.")
    _check_bounds(cast, array, space, source, row_name)
    return cast


_FEW = 16
"""Numbers that Python compares one by one sooner than NumPy starts."""


def _fits_box(actions: Any, space: spaces.Space, n_rows: int) -> bool:
    """The common case, decided quickly: floats of the right dtype and shape inside a Box."""
    if (
        type(space) is not spaces.Box
        or type(actions) is not np.ndarray
        or actions.dtype != space.dtype
        or actions.shape != (n_rows, *space.shape)
        or actions.dtype.kind != "f"
    ):
        return False
    if actions.size == 1:
        value = actions.item()
        return bool(space.low.item() <= value <= space.high.item() and value - value == 0.0)  # infinity isn't finite
    if n_rows == 1 and actions.size <= _FEW:
        bounds = zip(actions.ravel().tolist(), space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
        return all([low <= value <= high and value - value == 0.0 for value, low, high in bounds])
    return bool(((actions >= space.low) & (actions <= space.high) & np.isfinite(actions)).all())


def _is_one_choice(actions: Any, space: spaces.Space, n_rows: int) -> bool:
    """The other common case: one number of the right dtype inside a Discrete space."""
    if (
        type(space) is not spaces.Discrete
        or n_rows != 1
        or type(actions) is not np.ndarray
        or actions.shape != (1,)
        or actions.dtype != space.dtype
    ):
        return False
    return bool(0 <= actions.item() - int(space.start) < int(space.n))


def _check_kind(array: np.ndarray, space: spaces.Space, source: str) -> None:
    """Raise unless the array's kind of number (bool, int, float) is one that the space takes."""
    wanted = np.dtype(space.dtype).kind if space.dtype is not None else "f"
    allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted]
    if isinstance(space, spaces.MultiBinary):
        allowed = "iub"
    if array.dtype.kind not in allowed:
        mend = "Round or index it yourself: a cast would hide the mistake." if wanted in "iu" else "Convert it first."
        raise FeedbackError(
            f"{source}: got {_KIND_NAMES[array.dtype.kind]} ({_preview(array)}), "
            f"expected {_KIND_NAMES[wanted]} for {space}. {mend}"
        )


def _check_bounds(
    cast: np.ndarray, array: np.ndarray, space: spaces.Space, source: str, row_name: Callable[[int], str]
) -> None:
    """Raise at the first row that isn't finite or lies outside the space."""
    low, high = bounds_of(space)
    inside = (cast >= low) & (cast <= high)  # False for NaN
    if np.dtype(space.dtype).kind == "f":
        inside &= np.isfinite(cast)
    if inside.all():
        return
    row = int(np.argwhere(~inside.reshape(len(cast), -1).all(axis=1))[0, 0])
    if array.dtype.kind == "f" and not np.isfinite(array[row]).all():
        raise FeedbackError(
            f"{source}: {row_name(row)} is {_preview(array[row])}, which is not finite; expected numbers inside {space}. "
            "Look for its cause where it is made, such as a division by zero."
        )
    raise FeedbackError(
        f"{source}: {row_name(row)} is {_preview(array[row])}, outside {space}. "
        "Clip or rescale it where it is made; labels are environment-scale actions."
    )


def bounds_of(space: spaces.Space) -> tuple[Any, Any]:
    """
    :param space: A Box, Discrete, MultiDiscrete or MultiBinary space
    :return: The least and the largest value of each number in it
    """
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        start = getattr(space, "start", 0)  # not in Gymnasium 0.29
        return start, start + space.nvec - 1
    return 0, 1


def _preview(array: np.ndarray) -> str:
    return np.array2string(np.asarray(array), threshold=8, edgeitems=3, separator=", ")
