"""Steps to a threshold, speed-ups and their intervals over seeds; runs that never get there are censored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

AXES = ("episode", "agent_steps", "total_steps", "expert_queries", "gradient_steps", "seconds")
"""What a speed-up is measured in; ``total_steps`` are the agent's and the expert's together."""

_RESAMPLES = 9999


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """
    >>> trailing_mean(np.array([1.0, 2.0, 3.0, 4.0]), window=2)
    array([nan, 1.5, 2.5, 3.5])

    :param values: ``[T]``
    :param window: Values in each mean
    :return: ``[T]``, NaN before the first full window
    """
    means: np.ndarray = pd.Series(values).rolling(window).mean().to_numpy()
    return means


def axis_values(run: pd.DataFrame, axis: str) -> np.ndarray:
    """
    :param run: One run's episodes or evaluations
    :param axis: A column of them, or ``total_steps`` for the agent's and the expert's together
    :return: What the run had spent on it by each of them, ``[T]``
    """
    column = run["agent_steps"] + run["expert_steps"] if axis == "total_steps" else run[axis]
    values: np.ndarray = column.to_numpy()
    return values


def spent_when(run: pd.DataFrame, is_reached: np.ndarray, axes: Sequence[str]) -> dict[str, float]:
    """
    :param run: One run's episodes or evaluations
    :param is_reached: Whether each of them is what was to be reached, ``[T]``
    :param axes: As in :func:`axis_values`
    :return: What the run had spent at the first of these, on each axis; infinity if there is none
    """
    if not is_reached.any():
        return dict.fromkeys(axes, np.inf)
    return {axis: float(axis_values(run, axis)[is_reached.argmax()]) for axis in axes}


def reach(run: pd.DataFrame, threshold: float, window: int) -> dict[str, float]:
    """
    What a run had spent, on every axis, when its trailing mean return first reached a threshold.

    :param run: One run's episodes
    :param threshold: Return
    :param window: Episodes in the trailing mean
    :return: A number for each of :data:`AXES`; infinity if it never got there
    """
    return spent_when(run, trailing_mean(run["return"].to_numpy(), window) >= threshold, AXES)


def spent(run: pd.DataFrame) -> dict[str, float]:
    """
    :param run: One run's episodes
    :return: What the whole run spent, for each of :data:`AXES`
    """
    return reach(run.iloc[[-1]], -np.inf, window=1)


@dataclass(frozen=True)
class SpeedUp:
    """
    How many times less an arm needed than its baseline.

    :param ratio: Median of the baseline over median of the arm; NaN where the arm needs nothing
    :param low: Lower end of the 95% bootstrap interval over seeds; None with a single seed
    :param high: Upper end
    :param baseline_median: Infinity if half of the baseline's runs never got there
    :param arm_median: Likewise
    :param baseline_censored: Baseline runs that never got there
    :param arm_censored: Likewise
    :param seeds: Number of paired seeds
    """

    ratio: float
    low: float | None
    high: float | None
    baseline_median: float
    arm_median: float
    baseline_censored: int
    arm_censored: int
    seeds: int


def speed_up(baseline: np.ndarray, arm: np.ndarray, baseline_spent: np.ndarray) -> SpeedUp:
    """
    Compare what two arms needed, seed by seed.

    Censoring counts against the arm: a baseline run that never got there counts as what it had spent
    by its end, which is too little, and an arm's as never, so that the ratio is a lower bound.

    :param baseline: What each of the baseline's runs needed, infinity if censored, ``[seeds]``
    :param arm: The same of the arm, in the same order of seeds
    :param baseline_spent: What each of the baseline's runs spent in all
    :return: The speed-up
    """
    lower_bound = np.where(np.isinf(baseline), baseline_spent, baseline)

    def ratio_of_medians(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):  # a median that is nothing has an infinite ratio or none
            ratio: np.ndarray = np.median(first, axis=axis) / np.median(second, axis=axis)
        return ratio

    has_ratio = bool(arm.any())  # an arm that needs nothing, as expert queries where nobody asks, has none
    low = high = None
    if len(arm) > 1 and has_ratio:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # every resample may have one ratio
            result = stats.bootstrap(
                (lower_bound, arm),
                ratio_of_medians,
                paired=True,
                vectorized=True,
                n_resamples=_RESAMPLES,
                method="percentile",
                rng=np.random.default_rng(0),
            )
        low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    return SpeedUp(
        ratio=float(ratio_of_medians(lower_bound, arm)) if has_ratio else np.nan,
        low=low,
        high=high,
        baseline_median=float(np.median(baseline)),
        arm_median=float(np.median(arm)),
        baseline_censored=int(np.isinf(baseline).sum()),
        arm_censored=int(np.isinf(arm).sum()),
        seeds=len(arm),
    )
