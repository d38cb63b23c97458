"""What runs needed and reached, and intervals of it over seeds and environments, as rliable defines them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import integrate, stats

from nlf_sb3.experiments.statistics import spent_when

AXES = ("agent_steps", "total_steps", "expert_labels", "gradient_steps", "seconds")
"""What a run spends; ``total_steps`` are the agent's and the expert's together."""

_RESAMPLES = 2000
_LAST_PART = 0.1

Strata = Sequence[np.ndarray]
"""An arm's values, for each environment those of its seeds, ``[..., seeds]``."""


def needed(run: pd.DataFrame, threshold: float) -> dict[str, float]:
    """
    What a run had spent, on every axis, at the first evaluation that reached a threshold.

    :param run: One run's evaluations
    :param threshold: Mean return
    :return: A number for each of :data:`AXES`; infinity if it never got there
    """
    return spent_when(run, run["mean_return"].to_numpy() >= threshold, AXES)


def spent(run: pd.DataFrame) -> dict[str, float]:
    """
    :param run: One run's evaluations
    :return: What the whole run spent, for each of :data:`AXES`
    """
    return needed(run.iloc[[-1]], -np.inf)


def area(run: pd.DataFrame, timesteps: int) -> float:
    """
    Area under a run's evaluation curve over agent steps, from 0 to ``timesteps``, divided by their number: the mean height
    of the curve. Before the first evaluation and after the last one the curve is level.

    :param run: One run's evaluations
    :param timesteps: Where the area ends
    :return: The mean height
    """
    steps, returns = run["agent_steps"].to_numpy(), run["mean_return"].to_numpy()
    inside = steps < timesteps
    x = np.concatenate([[0], steps[inside], [timesteps]])
    y = np.concatenate([returns[:1], returns[inside], [np.interp(timesteps, steps, returns)]])
    return float(integrate.trapezoid(y, x)) / timesteps


def final_return(run: pd.DataFrame, timesteps: int) -> float:
    """
    :param run: One run's evaluations
    :param timesteps: Agent steps of a whole run
    :return: Mean of the evaluations in the last tenth of them; of a run that ended before, its last evaluation
    """
    late = run.loc[run["agent_steps"] >= (1 - _LAST_PART) * timesteps, "mean_return"]
    return float(late.mean() if len(late) else run["mean_return"].iloc[-1])


@dataclass(frozen=True)
class Estimate:
    """
    A figure and its 95% bootstrap interval.

    :param value: The figure
    :param low: Lower end of the interval; None with a single seed
    :param high: Upper end
    """

    value: float
    low: float | None
    high: float | None


def estimate(statistic: Callable[..., np.ndarray], *arms: Strata, seed: int = 0) -> Estimate:
    """
    A statistic of arms, with a stratified bootstrap: seeds are drawn anew within each environment and for each arm.

    :param statistic: Called with each arm's strata, ``[..., seeds]``; returns ``[...]``
    :param arms: Each arm's strata, ``[seeds]`` each
    :param seed: Seed of the bootstrap's generator
    :return: Value and percentile interval
    """
    value = float(statistic(*arms))
    if any(len(stratum) < 2 for strata in arms for stratum in strata):
        return Estimate(value, None, None)
    rng = np.random.default_rng(seed)
    resampled = [
        [stratum[rng.integers(len(stratum), size=(_RESAMPLES, len(stratum)))] for stratum in strata] for strata in arms
    ]
    values = statistic(*resampled)
    # Of two neighbours the outer one: between a number and infinity there is no middle.
    low, high = np.quantile(values, 0.025, method="lower"), np.quantile(values, 0.975, method="higher")
    return Estimate(value, float(low), float(high))


def median(strata: Strata) -> np.ndarray:
    """
    :param strata: An arm's values, ``[..., seeds]`` each
    :return: Median over all of them, ``[...]``
    """
    values: np.ndarray = np.median(np.concatenate(strata, axis=-1), axis=-1)
    return values


def interquartile_mean(strata: Strata) -> np.ndarray:
    """
    :param strata: An arm's values, ``[..., seeds]`` each
    :return: Mean of the middle half of all of them, ``[...]``
    """
    values: np.ndarray = np.asarray(stats.trim_mean(np.concatenate(strata, axis=-1), 0.25, axis=-1))
    return values


def ratio_of_means(arm: Strata, baseline: Strata) -> np.ndarray:
    """
    :param arm: An arm's values, ``[..., seeds]`` each
    :param baseline: The baseline's
    :return: Ratio of their interquartile means, ``[...]``; NaN where they aren't both above 0
    """
    above, below = interquartile_mean(arm), interquartile_mean(baseline)
    has_ratio = (above > 0) & (below > 0)
    ratios: np.ndarray = np.divide(above, below, where=has_ratio, out=np.full(np.shape(above), np.nan))
    return ratios


def probability_of_improvement(arm: Strata, baseline: Strata) -> np.ndarray:
    """
    How likely a run of the arm beats a run of the baseline: Mann and Whitney's U over the number of pairs, a tie counting
    half, averaged over environments.

    :param arm: An arm's values, ``[..., seeds]`` for each environment
    :param baseline: The baseline's, in the same order of environments
    :return: Probabilities, ``[...]``
    """
    pairs = [(ours[..., :, None], theirs[..., None, :]) for ours, theirs in zip(arm, baseline, strict=True)]
    by_env = [((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-2, -1)) for ours, theirs in pairs]
    values: np.ndarray = np.mean(by_env, axis=0)
    return values
