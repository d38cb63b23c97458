"""The bench's table and its file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch as th
from rich.box import SIMPLE_HEAD
from rich.table import Table
from threadpoolctl import threadpool_info

from nlf_sb3.experiments.bench.records import Measurement
from nlf_sb3.experiments.bench.timing import BOOTSTRAP_FROM
from nlf_sb3.experiments.runs import versions


def circumstances() -> dict[str, Any]:
    """What timings depend on: versions, machine, threads, and what else was going on."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "torch_threads": th.get_num_threads(),
        "blas_threads": [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"],
    }


def _processor() -> str:
    """The processor's model; Linux has it in a file, and ``platform`` doesn't look there."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_json(path: Path, measurements: Sequence[Measurement], about: dict[str, Any]) -> None:
    """
    Write everything; the file is whole at any time.

    :param path: The file
    :param measurements: So far
    :param about: What else belongs in the file
    """
    content = {**about, "measurements": [measurement.as_dict() for measurement in measurements]}
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    os.replace(unfinished, path)


def table_of(measurements: Sequence[Measurement], repeats: int, scale: float) -> Table:
    """
    :param measurements: Part by part
    :param repeats: As asked for
    :param scale: As asked for
    :return: A line for each
    """
    caption = f"Medians. \\[low, high]: 95% bootstrap interval; *: min and max, of fewer than {BOOTSTRAP_FROM} repeats. "
    caption += "CPU: the median by processor time, which other processes disturb less."
    if scale != 1:
        caption += f" Scale {scale:g}: fewer or more steps and episodes than the names say."
    title = f"nlf-sb3 bench, {repeats} repeat{'s' if repeats > 1 else ''}"
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what, in which unit", overflow="fold")  # nothing may be cut off
    for name in ("median", "\\[low, high]", "CPU", "reach"):
        table.add_column(name, justify="right", no_wrap=True)
    for part, own in groupby(measurements, key=lambda measurement: measurement.part):
        table.add_row(f"[bold]{part}[/]")
        for measurement in own:
            interval = measurement.interval
            mark = "*" if interval.kind == "range" else ""
            table.add_row(
                f"{measurement.name} [dim]({measurement.unit})[/]",
                _number(measurement.median),
                f"\\[{_number(interval.low)}, {_number(interval.high)}]{mark}",
                "" if measurement.cpu_median is None else _number(measurement.cpu_median),
                _reach(measurement),
            )
        table.add_section()
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _reach(measurement: Measurement) -> str:
    if measurement.reach is None:
        return ""
    return f"{measurement.reach} {'[green]yes[/]' if measurement.is_reached else '[red]no[/]'}"
