"""Learning curves with bands, and where each arm reached its threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nlf_sb3.errors import require
from nlf_sb3.experiments.claims import Claim
from nlf_sb3.experiments.protocols import Protocol
from nlf_sb3.experiments.statistics import trailing_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = {
    "reinforce": ("REINFORCE", "#5f6b7a"),
    "control": ("REINFORCE, two episodes for one (control)", "#b08a3c"),
    "joint": ("joint objective", "#1668b8"),
    "injection": ("trajectory injection", "#c2410c"),
}
_PANELS = (("joint", ("reinforce", "joint")), ("injection", ("reinforce", "control", "injection")))
_X_LABELS = {"episode": "episodes", "total_steps": "environment steps, the agent's and the expert's"}


def plot_protocol(protocol: Protocol, episodes: pd.DataFrame, claims: list[Claim], path: Path) -> None:
    """
    Draw a protocol: one column for each claim, over episodes above and over all environment steps below.

    :param protocol: The protocol
    :param episodes: All its episodes
    :param claims: Its claims
    :param path: PNG file to write
    """
    require("matplotlib", "experiments", "Plotting")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 2, squeeze=False)
    n_seeds = episodes["seed"].nunique()
    for column, (arm, arms) in enumerate(_PANELS):
        claim = next(c for c in claims if c.arm == arm and c.baseline == "reinforce")
        for row, x_name in enumerate(_X_LABELS):
            _draw_panel(axes[row, column], protocol, episodes, claim, list(arms), x_name)
    figure.suptitle(
        f"InvertedPendulum, protocol '{protocol.name}': trailing mean return of {protocol.window} episodes, "
        f"median and middle half of {n_seeds} seed{'s' if n_seeds > 1 else ''}",
        fontsize=12,
    )
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, protocol: Protocol, episodes: pd.DataFrame, claim: Claim, arms: list[str], x_name: str) -> None:
    limit = 0.0
    for arm in arms:
        label, color = _STYLE[arm]
        runs = [run for _, run in episodes[episodes["arm"] == arm].groupby("seed")]
        x, low, middle, high = _band(runs, protocol.window, x_name)
        axes.plot(x, middle, color=color, label=label, linewidth=1.8)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        limit = float(np.max(x, initial=limit)) if arm == claim.arm or x_name == "episode" else limit
    speed_up = claim.axes[x_name]
    axes.axhline(claim.threshold, color="black", linewidth=0.8, linestyle=":")
    for arm, median in (("reinforce", speed_up.baseline_median), (claim.arm, speed_up.arm_median)):
        if np.isfinite(median):
            axes.plot([median], [claim.threshold], "o", color=_STYLE[arm][1], markersize=7)
            limit = max(limit, median * 1.1)
    bound = ">= " if 2 * speed_up.baseline_censored >= speed_up.seeds else ""
    interval = "" if speed_up.low is None else f"  (95%: {speed_up.low:.2f} to {speed_up.high:.2f})"
    axes.set_title(
        f"{_STYLE[claim.arm][0]}: {bound}{speed_up.ratio:.2f}x as fast to return {claim.threshold:.0f}{interval}", fontsize=10
    )
    axes.set_xlim(0, limit or None)
    axes.set_xlabel(_X_LABELS[x_name])
    axes.set_ylabel("return")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.grid(alpha=0.25)
    axes.yaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=6)
    axes.legend(loc="lower right", fontsize=9)


def _band(runs: list[pd.DataFrame], window: int, x_name: str) -> tuple[Any, Any, Any, Any]:
    """Quartiles over runs, as far as half of them went; a run that ended before keeps its last value."""
    columns = [
        (run["agent_steps"] + run["expert_steps"] if x_name == "total_steps" else run[x_name]).to_numpy() for run in runs
    ]
    grid = np.linspace(0, np.median([column[-1] for column in columns]), 400)
    curves = np.array(
        [
            np.interp(grid, x, trailing_mean(run["return"].to_numpy(), min(window, len(run))), left=np.nan)
            for x, run in zip(columns, runs, strict=True)
        ]
    )
    seen = np.isfinite(curves).all(axis=0)
    low, middle, high = np.percentile(curves[:, seen], [25, 50, 75], axis=0)
    return grid[seen], low, middle, high
