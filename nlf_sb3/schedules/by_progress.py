"""Schedules of alpha by the progress of training, in SB3's convention: functions of the progress that remains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import check_alpha


@saved_as_plain_state
@dataclass(frozen=True)
class ConstantSchedule:
    """The same value throughout."""

    value: float

    def __post_init__(self) -> None:
        check_alpha(self.value)

    def __call__(self, progress_remaining: float) -> float:
        return self.value


@dataclass(frozen=True)
class _Ramp:
    """A way from ``start`` to ``end`` over the first ``end_fraction`` of training."""

    start: float
    end: float
    end_fraction: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.start)
        check_alpha(self.end)
        if not 0 < self.end_fraction <= 1:
            raise ValueError(f"end_fraction: got {self.end_fraction}, expected a number in (0, 1].")

    def _done(self, progress_remaining: float) -> float:
        return min((1.0 - progress_remaining) / self.end_fraction, 1.0)


@saved_as_plain_state
@dataclass(frozen=True)
class LinearSchedule(_Ramp):
    """
    From ``start`` to ``end`` over the first ``end_fraction`` of training, then constant.

    >>> LinearSchedule(0.0, 1.0, end_fraction=0.5)(0.75)
    0.5
    """

    def __call__(self, progress_remaining: float) -> float:
        return self.start + self._done(progress_remaining) * (self.end - self.start)


@saved_as_plain_state
@dataclass(frozen=True)
class CosineSchedule(_Ramp):
    """
    From ``start`` to ``end`` along half a cosine, flat at both ends, over the first ``end_fraction`` of training.

    >>> round(CosineSchedule(0.0, 1.0)(0.75), 4)
    0.1464
    """

    def __call__(self, progress_remaining: float) -> float:
        weight = 0.5 - 0.5 * math.cos(math.pi * self._done(progress_remaining))
        return self.start + weight * (self.end - self.start)


@saved_as_plain_state
@dataclass(frozen=True)
class SwitchSchedule:
    """
    ``before`` for the first ``fraction`` of training, then ``after``: imitation first, reinforcement learning second.

    >>> SwitchSchedule(0.25)(0.8), SwitchSchedule(0.25)(0.7)
    (0.0, 1.0)
    """

    fraction: float
    before: float = 0.0
    after: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.before)
        check_alpha(self.after)
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction: got {self.fraction}, expected a number in [0, 1].")

    def __call__(self, progress_remaining: float) -> float:
        return self.before if 1.0 - progress_remaining < self.fraction else self.after
