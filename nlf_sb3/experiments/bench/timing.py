"""Time a piece of work, and say what repeats of it are worth: medians and their intervals."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch as th
from threadpoolctl import threadpool_limits

Result = TypeVar("Result")

BOOTSTRAP_FROM = 5
"""Repeats from which on an interval is a bootstrap's; fewer give their lowest and highest value."""
_RESAMPLES = 9999


@contextmanager
def one_thread() -> Iterator[None]:
    """
    PyTorch and NumPy's linear algebra on one thread each for the time being.

    The networks are small. On a busy machine threads that wait for each other make them ten times slower, and one
    side of a pair more than the other.
    """
    before = th.get_num_threads()
    th.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        th.set_num_threads(before)


@dataclass(frozen=True)
class Elapsed:
    """
    How long something took.

    :param seconds: On the clock
    :param cpu_seconds: Of this process's processor time, which other processes disturb less
    """

    seconds: float
    cpu_seconds: float

    def named(self, what: str) -> dict[str, float]:
        """
        >>> Elapsed(2.0, 1.5).named("training")
        {'training_seconds': 2.0, 'training_cpu_seconds': 1.5}

        :param what: What took so long
        :return: Both numbers by name
        """
        return {f"{what}_seconds": self.seconds, f"{what}_cpu_seconds": self.cpu_seconds}


def timed(work: Callable[[], Result]) -> tuple[Elapsed, Result]:
    """
    :param work: What to time
    :return: How long it took, and what it returned
    """
    gc.collect()  # what was left over before is not this work's to collect
    start, cpu_start = time.perf_counter(), time.process_time()
    result = work()
    return Elapsed(time.perf_counter() - start, time.process_time() - cpu_start), result


def microseconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """
    :param call: What to time
    :param calls: How often
    :return: Microseconds of one call, the loop around it included
    """

    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


@dataclass(frozen=True)
class Interval:
    """
    Where a median lies.

    :param low: Lower end
    :param high: Upper end
    :param kind: ``"bootstrap"``: 95% by the bootstrap; ``"range"``: the lowest and the highest value
    """

    low: float
    high: float
    kind: Literal["bootstrap", "range"]


def interval_of_median(values: Sequence[float]) -> Interval:
    """
    >>> interval_of_median([3.0, 1.0, 2.0])
    Interval(low=1.0, high=3.0, kind='range')

    :param values: One of each repeat
    :return: The interval; of :data:`BOOTSTRAP_FROM` repeats and more the bootstrap's (percentiles, fixed seed)
    """
    if len(values) < BOOTSTRAP_FROM:
        return Interval(float(min(values)), float(max(values)), "range")
    from scipy import stats  # here: processes whose memory is measured do without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # all repeats may be equal
        result = stats.bootstrap(
            (np.asarray(values, dtype=float),),
            np.median,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high), "bootstrap")
