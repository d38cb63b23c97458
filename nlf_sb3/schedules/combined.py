"""Several schedules as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import AdaptiveAlpha, TrainingState
from nlf_sb3.schedules.trial import Trial
from nlf_sb3.schedules.use import alpha_of, as_schedule


@saved_as_plain_state
@dataclass
class MaxSchedule(AdaptiveAlpha):
    """
    The largest alpha of several schedules. Imitation ends as soon as one of them ends it.

    >>> from nlf_sb3.schedules import PerformanceSchedule, LinearSchedule
    >>> soon = MaxSchedule([PerformanceSchedule(expert_return=500.0), LinearSchedule(0.1, 1.0, end_fraction=0.25)])

    :param schedules: Numbers or schedules, at least one. To try them, put a :class:`~nlf_sb3.schedules.Trial` around this
        schedule
    """

    schedules: list[Any]

    def __post_init__(self) -> None:
        if not self.schedules:
            raise ValueError("schedules: got none, expected at least one.")
        for schedule in self.schedules:
            if isinstance(schedule, Trial):
                raise ValueError("schedules: got a Trial, whose verdict would be ignored here. Use Trial(MaxSchedule([...])).")
            as_schedule(schedule)

    def alpha(self, state: TrainingState) -> float:
        return max(alpha_of(as_schedule(schedule), state) for schedule in self.schedules)

    def reset(self) -> None:
        for schedule in self.schedules:
            if isinstance(schedule, AdaptiveAlpha):
                schedule.reset()
