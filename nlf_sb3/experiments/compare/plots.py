"""Learning curves of all arms on one environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nlf_sb3.errors import require
from nlf_sb3.experiments.compare.figures import Results
from nlf_sb3.experiments.compare.thresholds import Threshold
from nlf_sb3.experiments.statistics import axis_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 300
_X_LABELS = {"agent_steps": "agent steps", "expert_labels": "expert labels"}


def plot_env(results: Results, env: str, threshold: Threshold, path: Path) -> None:
    """
    Draw the median curve of every arm with its middle half, over agent steps and over expert labels.

    :param results: All runs
    :param env: Environment
    :param threshold: Return to reach there
    :param path: PNG file to write
    """
    require("matplotlib", "experiments", "Plotting")
    from matplotlib.figure import Figure

    picture = Figure(figsize=(12, 5), layout="constrained")
    panels = picture.subplots(1, 2, sharey=True)
    for panel, (axis, label) in zip(panels, _X_LABELS.items(), strict=True):
        _draw(panel, results, env, axis)
        panel.axhline(threshold.value, color="black", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_xlabel(label)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("return of the policy's mode")
    panels[0].legend(fontsize=9)
    seeds = max(len(results.runs(env, arm)) for arm in results.arms)
    picture.suptitle(
        f"{env}: median and middle half of {seeds} seed{'s' if seeds > 1 else ''}; dotted: the threshold", fontsize=12
    )
    picture.savefig(path, dpi=110)


def _draw(panel: Axes, results: Results, env: str, axis: str) -> None:
    for index, arm in enumerate(results.arms):
        runs = results.runs(env, arm)
        x, low, middle, high = band(runs, axis, results.timesteps)
        if len(x):
            panel.plot(x, middle, color=f"C{index}", label=arm, linewidth=1.8)
            panel.fill_between(x, low, high, color=f"C{index}", alpha=0.15, linewidth=0)


def band(runs: Sequence[pd.DataFrame], axis: str, timesteps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    :param runs: An arm's runs
    :param axis: ``agent_steps`` or ``expert_labels``
    :param timesteps: Agent steps of a whole run
    :return: Points on the axis, and quartiles of the last evaluations before them, each ``[n]``; a run that has ended
        keeps its last one. An arm that spends no labels has no points, and one that takes no steps is level over all of them.
    """
    columns = [axis_values(run, axis) for run in runs]
    ends = [column[-1] for column in columns]
    end = timesteps if axis == "agent_steps" else np.median(ends)
    if end < 1:
        return (np.empty(0),) * 4
    above_zero = [value for column in columns for value in column if value > 0]  # the axis is logarithmic
    grid = np.geomspace(min([*above_zero, end]) if above_zero else 1, end, _POINTS)
    curves = []
    for column, run in zip(columns, runs, strict=True):
        seen = np.searchsorted(column, grid, side="right") - 1
        curves.append(run["mean_return"].to_numpy()[np.maximum(seen, 0)])
    low, middle, high = np.percentile(curves, [25, 50, 75], axis=0)
    return grid, low, middle, high
