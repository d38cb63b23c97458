"""Refuse spaces that don't count from 0 where feedback has to say which choice it means."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError


def check_counts_from_zero(space: spaces.Space, name: str) -> None:
    """
    Raise on a ``start`` other than 0, which Stable-Baselines3 ignores.

    Its policies hand 0 to n - 1 to the environment, and take observations of 0 to n - 1, whatever the space says. So an
    expert who answers in the space, and one who answers what the environment gets, mean different choices by one number.

    :param space: A space
    :param name: What it is called in the message
    :raises FeedbackError: If it, or a part of it, counts from another number
    """
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            check_counts_from_zero(part, f"{name}[{key!r}]")
    elif _is_shifted(space):
        start = getattr(space, "start", 0)
        raise FeedbackError(
            f"{name}: {space} counts from start={start}, and Stable-Baselines3 ignores start: its policies take and "
            f"give 0 to n - 1. A label would mean one choice to the expert and another to the environment. Leave start away, "
            "and add it to actions (take it from observations) in a wrapper inside the environment."
        )


def _is_shifted(space: Any) -> bool:
    if isinstance(space, spaces.Discrete):  # without NumPy, since it is asked of each label
        return bool(space.start != 0)
    return isinstance(space, spaces.MultiDiscrete) and bool(np.any(getattr(space, "start", 0)))
