"""Compare arms: run what was asked for, and write evaluations, figures, pictures and the report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nlf_sb3.experiments.claims import finite
from nlf_sb3.experiments.compare.command import Compare
from nlf_sb3.experiments.compare.figures import ArmFigures, OverallFigures, Results, figures_of, overall_figures
from nlf_sb3.experiments.compare.plan import make_plan
from nlf_sb3.experiments.compare.plots import plot_env
from nlf_sb3.experiments.compare.report import caution, report
from nlf_sb3.experiments.compare.run import ComparisonRun, for_files, label_of
from nlf_sb3.experiments.compare.tables import TextTable, short_table
from nlf_sb3.experiments.compare.thresholds import Threshold
from nlf_sb3.experiments.runs import perform_all, versions, wall_time


def compare(options: Compare, console: Console) -> list[ArmFigures]:
    """
    Run every arm, then write ``evaluations.csv``, ``summary.json``, a picture of each environment and ``REPORT.md``.

    :param options: The command's
    :param console: Shows progress and tables
    :return: Each arm's figures on each environment
    :raises ValueError: With one line on what can't be, before anything is run
    """
    began = time.perf_counter()
    plan = make_plan(options)
    done = perform_all(plan.runs, options.out, jobs=options.jobs, resume=options.resume, console=console)
    evaluations = _read(plan.runs, options.out)
    evaluations.drop(columns="label").to_csv(options.out / "evaluations.csv", index=False)
    results = Results(evaluations, options.timesteps, plan.baseline)
    thresholds = {env: plan.thresholds.get(env) or results.baselines_level(env) for env in results.envs}
    figures = [figures_of(results, env, arm, thresholds[env].value) for env in results.envs for arm in results.arms]
    overall = overall_figures(results, thresholds)
    pictures = {env: f"{for_files(env)}.png" for env in results.envs}
    for env, name in pictures.items():
        plot_env(results, env, thresholds[env], options.out / name)
    text = report(
        results,
        thresholds,
        figures,
        overall,
        episodes=options.eval_episodes,
        stopped=options.stop_at_threshold,
        jobs=options.jobs,
        pictures=pictures,
    )
    (options.out / "REPORT.md").write_text(text)
    seconds = time.perf_counter() - began
    about = {"wall_seconds": round(seconds, 2), "runs_in_this_invocation": done.runs, "workers": done.workers}
    _write_summary(options, plan.baseline, thresholds, figures, overall, about)
    for env in results.envs:
        own = [figure for figure in figures if figure.env == env]
        title = f"{env}: what it took to reach {thresholds[env].value:,.1f}, and what was reached"
        console.print(_rich_table(title, short_table(own, plan.baseline)))
    if doubt := caution(options.seeds):
        console.print(doubt)
    console.print(f"Report:      {options.out / 'REPORT.md'}\nEvaluations: {options.out / 'evaluations.csv'}", soft_wrap=True)
    console.print(wall_time(done, len(plan.runs), seconds))
    return figures


def _read(runs: Sequence[ComparisonRun], out: Path) -> pd.DataFrame:
    names = dict.fromkeys(("env", "arm", "expert"), str)
    evaluations = pd.concat([pd.read_csv(run.file(out), dtype=names) for run in runs], ignore_index=True)
    labels = [label_of(arm, expert) for arm, expert in zip(evaluations["arm"], evaluations["expert"], strict=True)]
    labelled: pd.DataFrame = evaluations.assign(label=labels)
    return labelled


def _write_summary(
    options: Compare,
    baseline: str,
    thresholds: Mapping[str, Threshold],
    figures: Sequence[ArmFigures],
    overall: Sequence[OverallFigures],
    about: dict[str, Any],
) -> None:
    summary = {
        "figures": [finite(asdict(figure)) for figure in figures],
        "overall": [finite(asdict(figure)) for figure in overall],
        "thresholds": {env: asdict(threshold) for env, threshold in thresholds.items()},
        "baseline": baseline,
        "options": {name: value for name, value in asdict(options).items() if name not in ("out", "resume", "jobs")},
        "versions": versions(),
        **about,
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")


def _rich_table(title: str, table: TextTable) -> Table:
    shown = Table(title=escape(title), box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(table.columns):
        shown.add_column(escape(name), justify="left" if index == 0 else "right")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
