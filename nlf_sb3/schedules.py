"""How alpha moves during training, in SB3's convention: a function of the progress that remains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

AlphaSchedule = Callable[[float], float]
"""Maps the progress remaining (1 at the start, 0 at the end, as in SB3) to alpha."""


@dataclass(frozen=True)
class ConstantSchedule:
    """The same value throughout."""

    value: float

    def __post_init__(self) -> None:
        check_alpha(self.value)

    def __call__(self, progress_remaining: float) -> float:
        return self.value


@dataclass(frozen=True)
class LinearSchedule:
    """
    From ``start`` to ``end`` over the first ``end_fraction`` of training, then constant.

    >>> LinearSchedule(0.0, 1.0, end_fraction=0.5)(0.75)
    0.5
    """

    start: float
    end: float
    end_fraction: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.start)
        check_alpha(self.end)
        if not 0 < self.end_fraction <= 1:
            raise ValueError(f"end_fraction: got {self.end_fraction}, expected a number in (0, 1].")

    def __call__(self, progress_remaining: float) -> float:
        done = min((1.0 - progress_remaining) / self.end_fraction, 1.0)
        return self.start + done * (self.end - self.start)


_SCHEDULES = {"constant": ConstantSchedule, "linear": LinearSchedule}


def check_alpha(alpha: Any) -> float:
    """
    :param alpha: What should be alpha
    :return: alpha as a float
    :raises ValueError: Unless it is a number in [0, 1]
    """
    try:
        value = float(alpha)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(alpha, (bool, str)) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"alpha: got {alpha!r}, expected a number in [0, 1] (1 is pure policy gradient, 0 pure imitation) "
            "or a schedule that returns one."
        )
    return value


def as_schedule(alpha: float | AlphaSchedule) -> AlphaSchedule:
    """
    :param alpha: A number in [0, 1], or a function of the progress remaining
    :return: A schedule
    :raises ValueError: For a number outside [0, 1]
    """
    return alpha if callable(alpha) else ConstantSchedule(check_alpha(alpha))


def schedule_to_state(schedule: AlphaSchedule) -> Any:
    """
    What a saved model keeps of a schedule: plain data for ours, so that it loads where nlf_sb3 isn't installed.

    :param schedule: Any schedule
    :return: A dict of plain data, or the callable itself if it is the user's own
    """
    for name, schedule_class in _SCHEDULES.items():
        if type(schedule) is schedule_class:
            return {"schedule": name, **vars(schedule)}
    return schedule


def schedule_from_state(state: Any) -> AlphaSchedule:
    """
    The inverse of :func:`schedule_to_state`.

    :param state: What it returned
    :return: The schedule
    """
    if isinstance(state, dict):
        arguments = dict(state)
        schedule: AlphaSchedule = _SCHEDULES[arguments.pop("schedule")](**arguments)
        return schedule
    return as_schedule(state)
