"""Reproduce the two headline claims, and the same arms at their best: runs, tables, files and pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from nlf_sb3.experiments.claims import Claim, claims
from nlf_sb3.experiments.plots import plot_protocol
from nlf_sb3.experiments.protocols import ARMS, PROTOCOLS, Protocol
from nlf_sb3.experiments.run import Run
from nlf_sb3.experiments.runs import perform_all, versions, wall_time
from nlf_sb3.experiments.statistics import SpeedUp

_PAPER_SEEDS = (1, 2, 3, 5, 8)
_AXIS_NAMES = {
    "episode": "episodes",
    "agent_steps": "agent steps",
    "total_steps": "agent + expert steps",
    "expert_queries": "expert labels",
    "gradient_steps": "gradient steps",
    "seconds": "seconds",
}


def seed_list(n_seeds: int) -> list[int]:
    """
    >>> seed_list(7)
    [1, 2, 3, 5, 8, 4, 6]

    :param n_seeds: How many
    :return: The paper's seeds first, then the other integers
    :raises ValueError: If it is below 1
    """
    if n_seeds < 1:
        raise ValueError(f"seeds: got {n_seeds}, expected at least 1.")
    others = (seed for seed in range(1, n_seeds + len(_PAPER_SEEDS)) if seed not in _PAPER_SEEDS)
    return [*_PAPER_SEEDS[:n_seeds], *(seed for seed, _ in zip(others, range(n_seeds - len(_PAPER_SEEDS)), strict=False))]


def reproduce(
    out: Path,
    *,
    protocols: list[str],
    n_seeds: int,
    jobs: int,
    resume: bool,
    scale: float,
    console: Console,
    backend: str = "loky",
    address: str | None = None,
    register: str | None = None,
) -> list[Claim]:
    """
    Run every arm of the protocols, then write ``episodes.csv``, ``summary.json`` and a picture of each.

    :param out: Folder for everything
    :param protocols: Names of the protocols
    :param n_seeds: Seeds of each arm
    :param jobs: Processes
    :param resume: Go on with what ``out`` holds
    :param scale: Factor on every number of episodes
    :param console: Shows progress and tables
    :param backend: Joblib's backend, as in :func:`~nlf_sb3.experiments.backends.workers`
    :param address: Dask's scheduler
    :param register: What registers the backend
    :return: The claims
    """
    began = time.perf_counter()
    chosen = [PROTOCOLS[name].scaled(scale) if scale != 1 else PROTOCOLS[name] for name in protocols]
    # Seeds outermost: what an interrupted experiment holds is whole for its first seeds.
    runs = [Run(protocol, arm, seed) for seed in seed_list(n_seeds) for protocol in chosen for arm in ARMS]
    done = perform_all(
        runs, out, jobs=jobs, resume=resume, console=console, backend=backend, address=address, register=register
    )
    episodes = pd.concat([pd.read_csv(run.file(out)) for run in runs], ignore_index=True)
    episodes.to_csv(out / "episodes.csv", index=False)
    results: list[Claim] = []
    for protocol in chosen:
        own = episodes[episodes["protocol"] == protocol.name]
        found = claims(protocol, own)
        plot_protocol(protocol, own, found, out / f"{protocol.name}.png")
        console.print(_table(protocol, found))
        results += found
    seconds = time.perf_counter() - began
    summary = {
        "claims": [claim.as_dict() for claim in results],
        "seeds": seed_list(n_seeds),
        "scale": scale,
        "versions": versions(),
        "wall_seconds": round(seconds, 2),
        "runs_in_this_invocation": done.runs,
        "workers": done.workers,
        "backend": backend,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    console.print(f"Episodes: {out / 'episodes.csv'}\nSummary:  {out / 'summary.json'}")
    for protocol in chosen:
        console.print(f"Picture:  {out / f'{protocol.name}.png'}")
    console.print(wall_time(done, len(runs), seconds))
    return results


def _table(protocol: Protocol, found: list[Claim]) -> Table:
    seeds = found[0].axes["episode"].seeds
    table = Table(title=f"Protocol '{protocol.name}', {seeds} seeds: medians to reach a trailing mean return")
    for name in ("claim", "measured in", "baseline", "arm", "speed-up [95% interval]"):
        table.add_column(name, no_wrap=name != "claim")
    for claim in found:
        episode = claim.axes["episode"]
        lines = [
            f"{claim.arm} over {claim.baseline}",
            f"to return {claim.threshold:.1f}",
            f"never: {episode.baseline_censored} and {episode.arm_censored} runs",
        ]
        for axis, speed_up in claim.axes.items():
            needed = (_number(speed_up.baseline_median), _number(speed_up.arm_median))
            table.add_row(lines.pop(0) if lines else "", _AXIS_NAMES[axis], *needed, _ratio(axis, speed_up))
        table.add_section()
    return table


def _number(value: float) -> str:
    return "never" if value == float("inf") else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _ratio(axis: str, speed_up: SpeedUp) -> str:
    if axis == "expert_queries":
        return "-"
    at_least = ">= " if 2 * speed_up.baseline_censored >= speed_up.seeds else ""
    interval = "" if speed_up.low is None else f"  [{speed_up.low:.2f}, {speed_up.high:.2f}]"
    return f"{at_least}{speed_up.ratio:.2f}x{interval}"
