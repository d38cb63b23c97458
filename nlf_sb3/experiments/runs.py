"""Run experiments in parallel, each into a file of its own, so that an interrupted set goes on where it stopped."""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch as th
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nlf_sb3.experiments.protocols import Arm, Protocol, make_model
from nlf_sb3.experiments.recording import EpisodeRecorder

_NO_STEP_LIMIT = 10**12


@dataclass(frozen=True)
class Run:
    """
    One training run.

    :param protocol: Its protocol
    :param arm: Its arm
    :param seed: Its seed
    """

    protocol: Protocol
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Its name in files and progress bars."""
        return f"{self.protocol.name}-{self.arm}-{self.seed:03d}"

    def file(self, out: Path) -> Path:
        """
        :param out: Folder of the whole experiment
        :return: The run's file, there once it is finished
        """
        return out / "runs" / f"{self.name}.csv"


def perform(run: Run, out: Path) -> str | None:
    """
    Train one run and write its episodes; the file takes its name when it is complete.

    :param run: The run
    :param out: Folder of the whole experiment
    :return: None, or the traceback of what went wrong
    """
    th.set_num_threads(1)  # runs are parallel; their networks are too small to be
    unfinished = run.file(out).with_suffix(".part")
    try:
        recorder = EpisodeRecorder(
            unfinished,
            run.protocol.name,
            run.arm,
            run.seed,
            episodes=run.protocol.episodes[run.arm],
            episodes_per_row=2 if run.arm == "control" else 1,
        )
        make_model(run.protocol, run.arm, run.seed).learn(_NO_STEP_LIMIT, callback=recorder)
    except Exception:  # the other runs go on, and the report names this one
        return traceback.format_exc()
    os.replace(unfinished, run.file(out))
    return None


def perform_all(runs: list[Run], out: Path, *, jobs: int, resume: bool, console: Console) -> None:
    """
    Train all runs that are not finished yet.

    :param runs: The runs
    :param out: Folder of the whole experiment
    :param jobs: Processes
    :param resume: Whether ``out`` may hold runs already; they must come from the same settings
    :param console: Shows progress
    :raises FileExistsError: If ``out`` holds runs and ``resume`` is not given, or they had other settings
    :raises RuntimeError: If a run failed; the others are finished first
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    _check_settings(runs, out, resume)
    todo = [run for run in runs if not run.file(out).exists()]
    with _progress(todo, len(runs), out, console):
        results = Parallel(n_jobs=jobs, return_as="list")(delayed(perform)(run, out) for run in todo)
    failed = {run.name: error for run, error in zip(todo, results, strict=True) if error is not None}
    if failed:
        name, error = next(iter(failed.items()))
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed ({', '.join(failed)}). The first, {name}:\n{error}")


def _check_settings(runs: list[Run], out: Path, resume: bool) -> None:
    """Refuse to mix runs of different settings, or to overwrite any."""
    settings = {run.protocol.name: json.loads(json.dumps(run.protocol.settings(), default=str)) for run in runs}
    path = out / "settings.json"
    started = any((out / "runs").iterdir())
    if started and not resume:
        raise FileExistsError(f"{out} holds runs already. Pass --resume to go on with them, or another --out.")
    if started and path.exists():
        before = json.loads(path.read_text())
        changed = [name for name in settings if name in before and before[name] != settings[name]]
        if changed:
            raise FileExistsError(
                f"{out} holds runs of other settings (protocol {', '.join(changed)}; see {path}). Pass another --out."
            )
        settings = {**before, **settings}
    path.write_text(json.dumps(settings, indent=2) + "\n")


@contextmanager
def _progress(todo: list[Run], n_runs: int, out: Path, console: Console) -> Iterator[None]:
    """A bar over all runs and one for each that is under way, read from the files that they write."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    stop = threading.Event()
    with Progress(*columns, console=console) as progress:
        total = progress.add_task("runs", total=n_runs, completed=n_runs - len(todo))
        bars: dict[str, TaskID] = {}

        def watch() -> None:
            while not stop.wait(0.5):
                refresh()

        def refresh() -> None:
            done = n_runs - len(todo)
            for run in todo:
                if run.file(out).exists():
                    done += 1
                    if run.name in bars:
                        progress.remove_task(bars.pop(run.name))
                elif (part := run.file(out).with_suffix(".part")).exists():
                    if run.name not in bars:
                        bars[run.name] = progress.add_task(run.name, total=run.protocol.episodes[run.arm])
                    progress.update(bars[run.name], completed=_episodes_written(part))
            progress.update(total, completed=done)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            refresh()


def _episodes_written(path: Path) -> int:
    """The episode number on the last whole line of a file that is being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.path.getsize(path) - 400))
            lines = file.read().split(b"\n")
        return int(lines[-2].split(b",")[3])
    except (OSError, IndexError, ValueError):  # just begun, or just renamed
        return 0


def versions() -> dict[str, Any]:
    """Versions of what the figures depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("nlf-sb3", "stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")}
