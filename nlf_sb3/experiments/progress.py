"""Show how far runs are, from the files that they write."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nlf_sb3.experiments.run import TrainingRun


@contextmanager
def progress(todo: Sequence[TrainingRun], n_runs: int, out: Path, console: Console) -> Iterator[None]:
    """
    A bar over all runs, and one for each that is under way and writes into ``out``.

    :param todo: Runs that are not finished yet
    :param n_runs: Those that are included
    :param out: Folder of the whole experiment
    :param console: Where they are shown
    """
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    stop = threading.Event()
    with Progress(*columns, console=console) as display:
        total = display.add_task("runs", total=n_runs, completed=n_runs - len(todo))
        bars: dict[str, TaskID] = {}

        def watch() -> None:
            while not stop.wait(0.5):
                refresh()

        def refresh() -> None:
            done = n_runs - len(todo)
            parts: dict[str, list[Path]] = {}
            for part in (out / "runs").glob("*.part"):
                parts.setdefault(part.name.partition(".")[0], []).append(part)
            for run in todo:
                if run.file(out).exists():
                    done += 1
                elif run.name in parts:
                    if run.name not in bars:
                        bars[run.name] = display.add_task(run.name, total=run.length)
                    display.update(
                        bars[run.name], completed=max(_counted(path, run.counted_column) for path in parts[run.name])
                    )
                    continue
                if run.name in bars:
                    display.remove_task(bars.pop(run.name))
            display.update(total, completed=done)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            refresh()


def _counted(path: Path, column: int) -> int:
    """The number in a column of the last whole line of a file that is being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.path.getsize(path) - 400))
            lines = file.read().decode(errors="replace").split("\n")
        return int(next(csv.reader([lines[-2]]))[column])
    except (OSError, IndexError, ValueError):  # just begun, or just renamed
        return 0
