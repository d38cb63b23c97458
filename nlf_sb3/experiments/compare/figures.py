"""Every figure of a comparison, from all its evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nlf_sb3.experiments.compare.statistics import (
    AXES,
    Estimate,
    area,
    estimate,
    final_return,
    interquartile_mean,
    median,
    needed,
    probability_of_improvement,
    ratio_of_means,
    spent,
)
from nlf_sb3.experiments.compare.thresholds import Threshold
from nlf_sb3.experiments.statistics import SpeedUp, speed_up


@dataclass(frozen=True)
class ArmFigures:
    """
    One arm on one environment. What compares it with the baseline is None for the baseline itself.

    :param env: Gymnasium's id of the environment
    :param arm: The arm, with its expert
    :param seeds: Runs
    :param threshold: Return to reach
    :param never: Runs that never got there
    :param labels: The most labels that any of its runs asked for
    :param needed: Median of what runs had spent when they got there, for each axis
    :param speed_up: How many times less that is than the baseline's, for each axis
    :param final: Interquartile mean of final returns
    :param area: Interquartile mean of the curves' mean heights
    :param improvement: Probability that its final return is above the baseline's
    :param ratio: Its final return over the baseline's
    """

    env: str
    arm: str
    seeds: int
    threshold: float
    never: int
    labels: int
    needed: dict[str, Estimate]
    speed_up: dict[str, SpeedUp] | None
    final: Estimate
    area: Estimate
    improvement: Estimate | None
    ratio: Estimate | None


@dataclass(frozen=True)
class OverallFigures:
    """
    One arm on all environments.

    :param arm: The arm, with its expert
    :param score: Interquartile mean of final returns, where 0 is the untrained baseline's return and 1 the threshold
    :param improvement: Probability that its final return is above the baseline's, averaged over environments
    """

    arm: str
    score: Estimate
    improvement: Estimate | None


class Results:
    """
    The runs of a comparison, by environment, arm and seed.

    :param evaluations: All evaluations; ``label`` is the arm with its expert
    :param timesteps: Agent steps of a whole run
    :param baseline: Label of the arm that the others are compared with
    """

    def __init__(self, evaluations: pd.DataFrame, timesteps: int, baseline: str) -> None:
        self.timesteps = timesteps
        self.baseline = baseline
        self.envs = list(evaluations["env"].unique())
        self.arms = list(evaluations["label"].unique())
        self._runs: dict[tuple[str, str], list[pd.DataFrame]] = {}
        for (env, label, _), run in evaluations.groupby(["env", "label", "seed"], sort=True):  # seeds in one order
            self._runs.setdefault((str(env), str(label)), []).append(run)

    def runs(self, env: str, arm: str) -> list[pd.DataFrame]:
        """
        :param env: Environment
        :param arm: The arm, with its expert
        :return: Its runs, by seed
        """
        return self._runs[env, arm]

    def finals(self, env: str, arm: str) -> np.ndarray:
        """
        :param env: Environment
        :param arm: The arm, with its expert
        :return: Its runs' final returns, ``[seeds]``
        """
        return np.array([final_return(run, self.timesteps) for run in self.runs(env, arm)])

    def baselines_level(self, env: str) -> Threshold:
        """
        :param env: Environment
        :return: What the baseline reaches at its end, for a threshold where nobody named one
        """
        return Threshold(float(np.median(self.finals(env, self.baseline))), f"the median final return of {self.baseline}")


def figures_of(results: Results, env: str, arm: str, threshold: float) -> ArmFigures:
    """
    :param results: All runs
    :param env: Environment
    :param arm: The arm, with its expert
    :param threshold: Return to reach
    :return: The arm's figures there
    """
    runs = results.runs(env, arm)
    at_threshold = pd.DataFrame([needed(run, threshold) for run in runs])
    finals = [results.finals(env, arm)]
    own: dict[str, Estimate] = {axis: estimate(median, [at_threshold[axis].to_numpy()]) for axis in AXES}
    compared: tuple[dict[str, SpeedUp] | None, Estimate | None, Estimate | None] = (None, None, None)
    if arm != results.baseline:
        others = [results.finals(env, results.baseline)]
        compared = (
            _speed_ups(results.runs(env, results.baseline), at_threshold, threshold),
            estimate(probability_of_improvement, finals, others),
            estimate(ratio_of_means, finals, others),
        )
    return ArmFigures(
        env=env,
        arm=arm,
        seeds=len(runs),
        threshold=threshold,
        never=int(np.isinf(at_threshold["agent_steps"]).sum()),
        labels=max(int(run["expert_labels"].iloc[-1]) for run in runs),
        needed=own,
        speed_up=compared[0],
        final=estimate(interquartile_mean, finals),
        area=estimate(interquartile_mean, [np.array([area(run, results.timesteps) for run in runs])]),
        improvement=compared[1],
        ratio=compared[2],
    )


def _speed_ups(baseline: list[pd.DataFrame], arm: pd.DataFrame, threshold: float) -> dict[str, SpeedUp]:
    at_threshold = pd.DataFrame([needed(run, threshold) for run in baseline])
    in_all = pd.DataFrame([spent(run) for run in baseline])
    return {axis: speed_up(at_threshold[axis].to_numpy(), arm[axis].to_numpy(), in_all[axis].to_numpy()) for axis in AXES}


def overall_figures(results: Results, thresholds: Mapping[str, Threshold]) -> list[OverallFigures]:
    """
    :param results: All runs
    :param thresholds: Return to reach in each environment
    :return: Each arm over all environments where the threshold is above the untrained baseline
    """
    untrained = {env: _untrained(results, env) for env in results.envs}
    envs = [env for env in results.envs if thresholds[env].value > untrained[env]]
    if not envs:
        return []

    def scores(arm: str) -> list[np.ndarray]:
        return [(results.finals(env, arm) - untrained[env]) / (thresholds[env].value - untrained[env]) for env in envs]

    others = scores(results.baseline)
    return [
        OverallFigures(
            arm,
            score=estimate(interquartile_mean, scores(arm)),
            improvement=None if arm == results.baseline else estimate(probability_of_improvement, scores(arm), others),
        )
        for arm in results.arms
    ]


def _untrained(results: Results, env: str) -> float:
    return float(np.median([run["mean_return"].iloc[0] for run in results.runs(env, results.baseline)]))
