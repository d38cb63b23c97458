"""What is measured, how, and what came of it: trials, their figures and measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nlf_sb3.experiments.bench.timing import Interval, interval_of_median

Numbers = dict[str, float]
"""Everything that one repeat of a trial measured, by name."""


@dataclass(frozen=True)
class Reach:
    """
    What a figure is to reach.

    >>> str(Reach("<=", 1.1)), Reach("<=", 1.1).is_reached_by(1.2)
    ('<= 1.1', False)

    :param sense: On which side of the bound
    :param bound: The bound
    """

    sense: Literal[">=", "<=", "<"]
    bound: float

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}"

    def is_reached_by(self, value: float) -> bool:
        """
        :param value: A median
        :return: Whether it is on the right side
        """
        if self.sense == ">=":
            return value >= self.bound
        return value < self.bound or (self.sense == "<=" and value == self.bound)


@dataclass(frozen=True)
class Figure:
    """
    One line of the table: what is worked out from each repeat's numbers.

    :param name: What it is
    :param unit: Its unit
    :param of: Works it out, repeat by repeat
    :param reach: What its median is to reach, if anything
    :param of_cpu: Works it out from processor time instead of the clock's, where that was taken
    """

    name: str
    unit: str
    of: Callable[[Numbers], float]
    reach: Reach | None = None
    of_cpu: Callable[[Numbers], float] | None = None

    def measurement(self, part: str, measured: Sequence[Numbers]) -> Measurement:
        """
        :param part: Part of the bench
        :param measured: Numbers of each repeat
        :return: This figure of each
        """
        cpu_values = None if self.of_cpu is None else tuple(map(self.of_cpu, measured))
        values = tuple(map(self.of, measured))
        return Measurement(part, self.name, self.unit, self.reach, values, tuple(measured), cpu_values)


def ratio_of_times(name: str, unit: str, over: str, under: str, reach: Reach | None = None) -> Figure:
    """
    A figure that is one time over another, both as :class:`~nlf_sb3.experiments.bench.timing.Elapsed` names them.

    :param name: As in :class:`Figure`
    :param unit: As in :class:`Figure`
    :param over: What took the one
    :param under: What took the other
    :param reach: As in :class:`Figure`
    :return: The figure, by the clock and by processor time
    """

    def by(clock: str) -> Callable[[Numbers], float]:
        return lambda numbers: numbers[f"{over}_{clock}"] / numbers[f"{under}_{clock}"]

    return Figure(name, unit, by("seconds"), reach, by("cpu_seconds"))


@dataclass(frozen=True)
class Trial:
    """
    What is measured together, one thing after the other, and repeated: so pairs alternate in one process.

    :param name: For the progress bar
    :param measure: Maps a seed and a factor on numbers of steps to what was measured
    :param figures: What is worked out from that
    :param warm_up: Whether it is done once on a small scale first, which doesn't count
    :param most_repeats: Repeats beyond which there are no more, however many are asked for
    """

    name: str
    measure: Callable[[int, float], Numbers]
    figures: tuple[Figure, ...]
    warm_up: bool = True
    most_repeats: int | None = None

    def repeats(self, asked_for: int) -> int:
        """
        :param asked_for: By the user
        :return: How many there are
        """
        return asked_for if self.most_repeats is None else min(asked_for, self.most_repeats)


@dataclass(frozen=True)
class Measurement:
    """
    A figure of every repeat.

    :param part: Part of the bench
    :param name: As in :class:`Figure`
    :param unit: As in :class:`Figure`
    :param reach: As in :class:`Figure`
    :param values: One of each repeat
    :param measured: What each value was worked out from
    :param cpu_values: The same by processor time, which other processes disturb less; None where it wasn't taken
    """

    part: str
    name: str
    unit: str
    reach: Reach | None
    values: tuple[float, ...]
    measured: tuple[Numbers, ...]
    cpu_values: tuple[float, ...] | None = None

    @property
    def median(self) -> float:
        """Over repeats."""
        return float(np.median(self.values))

    @property
    def cpu_median(self) -> float | None:
        """Of the values by processor time."""
        return None if self.cpu_values is None else float(np.median(self.cpu_values))

    @property
    def interval(self) -> Interval:
        """Of the median."""
        return interval_of_median(self.values)

    @property
    def is_reached(self) -> bool | None:
        """Whether the median reaches what it should; None where there is nothing to reach."""
        return None if self.reach is None else self.reach.is_reached_by(self.median)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for a file."""
        interval = self.interval
        return {
            "part": self.part,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": interval.low,
            "high": interval.high,
            "interval": interval.kind,
            "reach": None if self.reach is None else str(self.reach),
            "is_reached": self.is_reached,
            "cpu_median": self.cpu_median,
            "values": list(self.values),
            "cpu_values": None if self.cpu_values is None else list(self.cpu_values),
            "measured": list(self.measured),
        }


def scaled(count: int, scale: float, at_least: int = 1) -> int:
    """
    >>> scaled(8_000, 0.25), scaled(8_000, 1e-9)
    (2000, 1)

    :param count: Number of steps, calls or episodes
    :param scale: The factor on it
    :param at_least: What remains in any case
    :return: The number there will be
    """
    return max(at_least, round(count * scale))
