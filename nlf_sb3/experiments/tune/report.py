"""What the runs of nlf-sb3 tune came to: tables, a picture and answers before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from nlf_sb3.experiments.tune.command import Tune

SATISFIED = 0.9
"""Share of held-out users to satisfy."""
_N_SHOWN = 4


def summarise(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """
    :param rows: Every evaluation of every run
    :return: For each method: held-out users satisfied at the end, pooled over seeds, with the Wilson interval; responses until
        :data:`SATISFIED` of them were, infinity for runs that never got there; how the perplexity changed; and how many of
        the answers' pairs of words are distinct
    """
    summary = []
    for method, runs in rows.groupby("method", sort=False):
        last = runs.groupby("seed").tail(1)
        first = runs.groupby("seed").head(1)
        satisfied, asked = int(last["satisfied"].sum()), int(last["asked"].sum())
        interval = stats.binomtest(satisfied, asked).proportion_ci(method="wilson")
        needed = _responses_needed(runs)
        change = last["perplexity"].to_numpy() / first["perplexity"].to_numpy() - 1.0
        summary.append(
            {
                "method": str(method),
                "seeds": int(runs["seed"].nunique()),
                "before": float(first["satisfied"].sum() / first["asked"].sum()),
                "after": satisfied / asked,
                "low": float(interval.low),
                "high": float(interval.high),
                "needed": float(np.median(needed)),
                "never": int(np.isinf(needed).sum()),
                "needed_interval": [float(limit) for limit in _median_interval(needed)],
                "perplexity_change": float(np.median(change)),
                "largest_perplexity_change": float(change.max()),
                "distinct_pairs_before": float(first["distinct_pairs"].median()),
                "distinct_pairs": float(last["distinct_pairs"].median()),
                "second_attempts": float(last["second_attempts"].median()),
                "seconds": float(last["seconds"].median()),
            }
        )
    return summary


def _responses_needed(runs: pd.DataFrame) -> np.ndarray:
    needed = []
    for _, run in runs.groupby("seed"):
        reached = run[run["satisfied"] >= SATISFIED * run["asked"]]
        needed.append(float(reached["responses"].iloc[0]) if len(reached) else np.inf)
    return np.array(needed)


def _median_interval(values: np.ndarray) -> tuple[float, float]:
    """95% percentile bootstrap of the median; infinity is a value like any other."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    medians = np.sort(np.sort(drawn, axis=1)[:, [(len(values) - 1) // 2, len(values) // 2]].mean(axis=1))
    return float(medians[49]), float(medians[1949])


def write_report(options: Tune, rows: pd.DataFrame, summary: list[dict[str, Any]]) -> None:
    """
    Write evaluations.csv, summary.json, curve.png and REPORT.md.

    :param options: Of the command
    :param rows: Every evaluation of every run
    :param summary: Of :func:`summarise`
    """
    out = options.out
    rows.to_csv(out / "evaluations.csv", index=False)
    (out / "summary.json").write_text(json.dumps(summary, indent=2).replace("Infinity", "null"))
    _draw(rows, out / "curve.png")
    lines = [
        "# Tuning",
        "",
        f"{options.model}, {options.algorithm}, records {options.records}, {options.responses} responses of the agent.",
        "Held-out questions are answered greedily; satisfied is their share, pooled over seeds, with its 95% Wilson interval.",
        f"`to {SATISFIED:.0%}`: median over seeds (95% bootstrap) of the responses at the first evaluation where so many were",
        "satisfied; runs that never got there count as infinity. Perplexity is of an unrelated text, its change the median",
        "over seeds. Distinct pairs: how many distinct pairs of neighbouring words the answers hold, over all their pairs,",
        "the median over seeds; near 0 where all questions get the same answer.",
        "",
        f"| method | seeds | before | satisfied | to {SATISFIED:.0%} | never | perplexity | "
        "distinct pairs | second attempts | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in summary:
        low, high = row["needed_interval"]
        lines.append(
            f"| {row['method']} | {row['seeds']} | {row['before']:.0%} | {row['after']:.0%} "
            f"[{row['low']:.0%}, {row['high']:.0%}] | {_number(row['needed'])} [{_number(low)}, {_number(high)}] | "
            f"{row['never']} of {row['seeds']} | {row['perplexity_change']:+.1%} | "
            f"{row['distinct_pairs_before']:.2f} to {row['distinct_pairs']:.2f} | {row['second_attempts']:.0f} | "
            f"{row['seconds']:.0f} |"
        )
    lines += ["", "![Held-out users satisfied](curve.png)", "", *_transcripts(options, rows)]
    (out / "REPORT.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:,.0f}"


def _transcripts(options: Tune, rows: pd.DataFrame) -> list[str]:
    """Some questions with what was answered before and after, of each method's first seed."""
    lines = []
    for method, runs in rows.groupby("method", sort=False):
        file = options.out / "runs" / f"{method}-{runs['seed'].iloc[0]}" / "responses.jsonl"
        answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        last = max(answer["responses"] for answer in answers)
        before = {answer["asked"]: answer for answer in answers if answer["responses"] == 0}
        lines += [f"## {method}, seed {runs['seed'].iloc[0]}", ""]
        for after in [answer for answer in answers if answer["responses"] == last][:_N_SHOWN]:
            first = before[after["asked"]]
            lines += [f"**{after['asked']}**", ""]
            lines += [f"- {_mark(answer)} {' '.join(answer['answered'].split())}" for answer in (first, after)]
            lines.append("")
    return lines


def _mark(answer: dict[str, Any]) -> str:
    return f"after {answer['responses']} responses ({'satisfied' if answer['satisfied'] else 'not satisfied'}):"


def _draw(rows: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for method, runs in rows.groupby("method", sort=False):
        runs = runs.assign(share=runs["satisfied"] / runs["asked"])
        share = runs.pivot_table(index="responses", columns="seed", values="share")
        share = share.interpolate(method="index").ffill()
        axes.plot(share.index, share.mean(axis=1), marker="o", markersize=3, label=f"{method} ({share.shape[1]} seeds)")
        axes.fill_between(share.index, share.min(axis=1), share.max(axis=1), alpha=0.15)
    axes.set(xlabel="responses of the agent", ylabel="held-out users satisfied", ylim=(-0.02, 1.02))
    axes.axhline(SATISFIED, color="grey", linewidth=0.8, linestyle=":")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
