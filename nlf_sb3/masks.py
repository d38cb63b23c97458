"""Action masks, as sb3-contrib has them: which choices were allowed, ``[n, n_choices]`` booleans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError


def choices_per_dimension(space: spaces.Space) -> list[int]:
    """
    :param space: A Discrete, MultiDiscrete or MultiBinary space
    :return: The number of choices in each dimension of an action; their sum is the width of a mask
    :raises FeedbackError: For spaces that can't be masked
    """
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in np.ravel(space.nvec)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise FeedbackError(f"Actions of {space} can't be masked: masks are for Discrete, MultiDiscrete and MultiBinary spaces.")


def allowed_rows(actions: np.ndarray, masks: np.ndarray, space: spaces.Space) -> np.ndarray:
    """
    >>> allowed_rows(np.array([0, 1]), np.array([[True, False], [True, False]]), spaces.Discrete(2))
    array([ True, False])

    :param actions: Environment-scale actions, ``[n, *action_shape]``
    :param masks: ``[n, n_choices]``
    :param space: The action space
    :return: Whether the mask allows all of a row's action, ``[n]``
    """
    first_columns = np.cumsum([0, *choices_per_dimension(space)[:-1]])
    chosen = actions.reshape(len(actions), len(first_columns)).astype(np.int64) - np.ravel(getattr(space, "start", 0))
    columns = chosen + first_columns
    taken: np.ndarray = np.take_along_axis(np.asarray(masks, dtype=bool), columns, axis=1)
    return taken.all(axis=1)  # type: ignore[no-any-return, return-value]


def check_allowed(
    actions: np.ndarray,
    masks: np.ndarray,
    space: spaces.Space,
    source: str = "expert action",
    row_name: Callable[[int], str] = "row {}".format,
) -> None:
    """
    :param actions: Environment-scale actions, ``[n, *action_shape]``
    :param masks: ``[n, n_choices]``
    :param space: The action space
    :param source: What the actions are, for the error message
    :param row_name: What a row is called there
    :raises FeedbackError: At the first action that its mask forbids, and for masks of another width than the space's
    """
    width = sum(choices_per_dimension(space))
    if masks.shape != (len(actions), width):
        raise FeedbackError(f"{source}: action masks have shape {masks.shape}, expected {(len(actions), width)} for {space}.")
    allowed = allowed_rows(actions, masks, space)
    if allowed.all():
        return
    row = int(np.flatnonzero(~allowed)[0])
    raise FeedbackError(
        f"{source}: {row_name(row)} is {actions[row]}, which the action mask forbids there "
        f"({np.asarray(masks[row], dtype=int)}). Give an action that is allowed; an expert gets the masks through "
        "Expert.act_within."
    )
