"""Imitation on trial: an expert who doesn't make the agent better is not imitated any longer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import AdaptiveAlpha, AlphaSchedule, TrainingState, check_alpha
from nlf_sb3.schedules.by_performance import latest

_FEW = 3
"""Episodes below which a mean says nothing."""
_IN_THE_END = 1.0
"""Standard errors that decide when the time is over: few long episodes of a good agent differ widely."""
_YARDSTICK_UPDATES = 4
"""Rollouts of imitation that may lend the yardstick episodes: so few hardly change the agent."""


@saved_as_plain_state
@dataclass
class Trial(AdaptiveAlpha):
    """
    Another schedule, on condition that imitation makes the agent better early on.

    The yardstick is made of the last ``episodes`` episodes before the agent imitates. Where they are fewer, those of the next
    rollouts join them, :data:`_YARDSTICK_UPDATES` of them at most; where even then there are hardly any, episodes are too long
    for a trial, and it is passed.

    It is passed once the mean return of the latest ``window`` lies ``standard_errors`` above the yardstick's (Welch's
    statistic), and failed once it lies as far below. When the first ``fraction`` of training and ``least_updates`` rollouts
    of imitation are over, one standard error decides. From a failure on alpha is 1, and the algorithm puts the policy and the
    optimiser back to where they were before the agent imitated, so that a bad teacher costs the trial's steps and nothing
    else. A model that was loaded in the middle of a trial has nothing to put back.

    An agent that begins where nothing can be improved fails it too. Without a ``Monitor`` there are no returns, and
    everything passes.

    :param schedule: alpha while the trial goes on, and once it is passed
    :param fraction: Share of training that the trial may take
    :param least_updates: Rollouts of imitation that it may take at least, so that a short training doesn't end it at once
    :param standard_errors: How clear a difference has to be before the time is over. The test is made again with each
        rollout, so that this should be more than the 2 of a single one.
    :param episodes: Most episodes in the yardstick
    :param window: Episodes in the mean that is compared with it
    """

    schedule: Any
    fraction: float = 0.1
    least_updates: int = 16
    standard_errors: float = 3.0
    episodes: int = 5
    window: int = 20
    verdict: Literal["passed", "failed"] | None = field(default=None, init=False)
    first: list[float] = field(default_factory=list, init=False)
    recent: list[float] = field(default_factory=list, init=False)
    _failed_now: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not (callable(self.schedule) or isinstance(self.schedule, AdaptiveAlpha)):
            check_alpha(self.schedule)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: got {self.fraction}, expected a number in (0, 1].")
        for name in ("standard_errors", "episodes", "window"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a number above 0.")

    def alpha(self, state: TrainingState) -> float:
        self._failed_now = False
        alpha = self._inner(state)
        if self.verdict is None:
            self._judge(state)
        return 1.0 if self.verdict == "failed" else alpha

    def reset(self) -> None:
        self.verdict, self.first, self.recent, self._failed_now = None, [], [], False
        if isinstance(self.schedule, AdaptiveAlpha):
            self.schedule.reset()

    @property
    def is_open(self) -> bool:
        return self.verdict is None

    @property
    def failed(self) -> bool:
        return self._failed_now

    def to_log(self) -> dict[str, float]:
        return {"feedback/trial": {None: 0.0, "passed": 1.0, "failed": -1.0}[self.verdict]}

    def _inner(self, state: TrainingState) -> float:
        schedule: float | AlphaSchedule = self.schedule
        if isinstance(schedule, AdaptiveAlpha):
            return schedule.alpha(state)
        return schedule(state.progress_remaining) if callable(schedule) else schedule

    def _judge(self, state: TrainingState) -> None:
        if state.n_imitated == 0:
            self.first = latest(self.first, state.episode_returns, self.episodes)
            return
        if len(self.first) < self.episodes and state.n_imitated < _YARDSTICK_UPDATES:
            self.first += map(float, state.episode_returns)
        else:
            self.recent = latest(self.recent, state.episode_returns, self.window)
            if len(self.first) < _FEW:
                self.verdict = "passed"
                return
        difference = standardised_difference(self.recent, self.first)
        had_time = 1.0 - state.progress_remaining >= self.fraction and state.n_imitated >= self.least_updates
        is_over = had_time and len(self.recent) >= _FEW
        if difference >= (_IN_THE_END if is_over else self.standard_errors):
            self.verdict = "passed"
        elif is_over or difference <= -self.standard_errors:
            self.verdict, self._failed_now = "failed", True
            warnings.warn(
                f"Imitation did not make the agent better: mean return {_mean(self.recent):.4g} of its latest episodes, "
                f"{_mean(self.first):.4g} before it. The policy from before it is put back, and alpha is 1 from here on.",
                stacklevel=2,
            )


def standardised_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """
    Welch's statistic: the difference of two means in its standard errors; 0 where there are too few numbers.

    >>> standardised_difference([2.0, 3.0, 4.0], [0.0, 1.0, 2.0])
    2.449489742783178

    :param first: Numbers
    :param second: Numbers to compare them with
    :return: Positive if the first are larger
    """
    if min(len(first), len(second)) < _FEW:
        return 0.0
    squared_error = sum(_variance(values) / len(values) for values in (first, second))
    difference = _mean(first) - _mean(second)
    if squared_error <= 0.0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / math.sqrt(squared_error)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
