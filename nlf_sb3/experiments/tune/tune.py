"""Run every method with every seed, go on where an earlier call stopped, and report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nlf_sb3.errors import require
from nlf_sb3.experiments.reproduce import seed_list
from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.experiments.tune.finished import evaluations
from nlf_sb3.experiments.tune.learner import load_split
from nlf_sb3.experiments.tune.report import summarise, write_report
from nlf_sb3.experiments.tune.run import perform

_MAY_CHANGE = {"methods", "seeds", "out", "resume", "save_models"}
"""Options that may differ when a folder is resumed."""


def tune(options: Tune, console: Console) -> None:
    """
    :param options: Of the command
    :param console: Where progress and results are shown
    :raises FileExistsError: If OUT holds runs, and resuming wasn't asked for
    :raises ValueError: If it holds runs of other options, or an option is out of range
    """
    for module in ("transformers", "peft"):
        require(module, "lm", "nlf-sb3 tune")
    if (
        min(options.responses, options.batch, options.minibatch, options.seeds, options.max_new_tokens, options.attempts) < 1
        or not options.methods
    ):
        raise ValueError(
            "responses, batch, minibatch, seeds, max-new-tokens and attempts: expected at least 1 of each, and a method."
        )
    if options.responses < options.batch:
        raise ValueError(f"responses: got {options.responses}, expected those of one batch ({options.batch}) or more.")
    if options.attempts_temperature is not None and not options.attempts_temperature > 0.0:
        raise ValueError(f"attempts-temperature: got {options.attempts_temperature}, expected a number above 0.")
    split = load_split(options)
    _claim_folder(options)
    runs = [(method, seed) for method in options.methods for seed in seed_list(options.seeds)]
    text = TextColumn("{task.description:<20}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console.print(f"{len(split.train)} records to learn from, {len(split.held_out)} held out")
    with Progress(*columns, console=console) as progress:
        total = progress.add_task("runs", total=len(runs))
        for method, seed in runs:
            folder = options.out / "runs" / f"{method}-{seed}"
            if not (folder / "rows.json").exists():
                bar = progress.add_task(f"{method}, seed {seed}", total=options.responses)
                perform(options, method, seed, split, folder, lambda n, bar=bar: progress.update(bar, completed=n))  # type: ignore[misc]
                progress.remove_task(bar)
            progress.advance(total)
    rows = evaluations(options.out / "runs" / f"{method}-{seed}" for method, seed in runs)
    summary = summarise(rows)
    write_report(options, rows, summary)
    console.print(_table(summary))
    console.print(f"Report: {options.out / 'REPORT.md'}", soft_wrap=True)


def _claim_folder(options: Tune) -> None:
    """Write the options into OUT, or check that they are those of the runs that it holds."""
    settings: dict[str, Any] = {key: value for key, value in asdict(options).items() if key not in _MAY_CHANGE}
    file = options.out / "settings.json"
    if file.exists():
        if not options.resume:
            raise FileExistsError(f"{options.out} holds runs already. Go on with --resume, or pass another --out.")
        before = json.loads(file.read_text())
        changed = [
            f"--{key.replace('_', '-')} was {before.get(key)!r} and is {settings[key]!r}"
            for key in sorted(settings)
            if settings[key] != before.get(key)
        ]
        if changed:
            raise ValueError(f"--resume: in {options.out} {', '.join(changed)}. Pass what it was, or another --out.")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2))


def _table(summary: list[dict[str, Any]]) -> Table:
    table = Table("method", "seeds", "before", "after", "responses to 90%", "perplexity", "distinct pairs")
    for row in summary:
        needed = "never" if row["needed"] == float("inf") else f"{row['needed']:,.0f}"
        table.add_row(
            row["method"],
            str(row["seeds"]),
            f"{row['before']:.0%}",
            f"{row['after']:.0%} [{row['low']:.0%}, {row['high']:.0%}]",
            needed,
            f"{row['perplexity_change']:+.1%}",
            f"{row['distinct_pairs']:.2f}",
        )
    return table
