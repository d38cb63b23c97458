"""Run experiments in parallel, each into a file of its own, so that an interrupted set goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from joblib import Parallel, delayed
from rich.console import Console

from nlf_sb3.experiments.backends import workers
from nlf_sb3.experiments.progress import progress
from nlf_sb3.experiments.run import PACKAGES, Outcome, TrainingRun, perform, software


@dataclass(frozen=True)
class Invocation:
    """
    What one call of :func:`perform_all` did.

    :param runs: Runs that it trained, without those that were finished before
    :param workers: How many of them at a time
    """

    runs: int
    workers: int


def perform_all(
    runs: Sequence[TrainingRun],
    out: Path,
    *,
    jobs: int,
    resume: bool,
    console: Console,
    backend: str = "loky",
    address: str | None = None,
    register: str | None = None,
) -> Invocation:
    """
    Train all runs that are not finished yet.

    :param runs: The runs
    :param out: Folder of the whole experiment. Workers of other machines write into it where they see it, and else send
        the rows of a run when it is complete.
    :param jobs: Processes
    :param resume: Whether ``out`` may hold runs already; they must come from the same settings
    :param console: Shows progress
    :param backend: Joblib's backend, as in :func:`~nlf_sb3.experiments.backends.workers`
    :param address: Dask's scheduler
    :param register: What registers the backend
    :return: What was done
    :raises FileExistsError: If ``out`` holds runs and ``resume`` is not given, or they had other settings
    :raises RuntimeError: If a run failed; the others are finished first. Or if workers died
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    _check_settings(runs, out, resume)
    out = out.resolve()  # a worker's current folder may be another
    todo = {run.name: run for run in runs if not run.file(out).exists()}
    for run in todo.values():
        _discard_unfinished(run, out)
    if not todo:
        return Invocation(0, 0)
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        mark = stack.enter_context(NamedTemporaryFile(dir=out, prefix=".shared-"))
        parallel, size = stack.enter_context(workers(backend, jobs, lost=_lost, address=address, register=register))
        stack.enter_context(progress(list(todo.values()), len(runs), out, console))
        here = software()
        calls = [delayed(perform)(run, out, Path(mark.name), here) for run in todo.values()]
        for outcome in stack.enter_context(closing(_outcomes(parallel, calls, out))):
            if outcome.rows is not None:
                _write(outcome.rows, todo[outcome.name].file(out))
            if outcome.error is not None:
                failed[outcome.name] = outcome.error
            _discard_unfinished(todo[outcome.name], out)
    if failed:
        name, error = next(iter(failed.items()))
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed ({', '.join(failed)}). The first, {name}:\n{error}")
    return Invocation(len(todo), size)


def _lost(run: TrainingRun, *_: Any, error: BaseException) -> Outcome:
    return Outcome(run.name, error=f"Its worker died or could not begin it: {type(error).__name__}: {error}")


def _outcomes(parallel: Parallel, calls: list[Any], out: Path) -> Generator[Outcome, None, None]:
    try:
        yield from parallel(calls)
    except Exception as error:  # joblib ends all workers when one dies
        under_way = ", ".join(sorted({part.name.partition(".")[0] for part in (out / "runs").glob("*.part")})) or "none"
        raise RuntimeError(
            f"The workers stopped ({type(error).__name__}: {error})\nUnder way: {under_way}. "
            "Finished runs are kept, go on with --resume."
        ) from error


def _write(rows: bytes, path: Path) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(rows)
    os.replace(unfinished, path)


def _discard_unfinished(run: TrainingRun, out: Path) -> None:
    for path in run.file(out).parent.glob(f"{run.name}.*part"):
        path.unlink(missing_ok=True)


def _check_settings(runs: Sequence[TrainingRun], out: Path, resume: bool) -> None:
    """Refuse to mix runs of different settings, or to overwrite any."""
    settings = {run.kind: json.loads(json.dumps(run.settings(), default=str)) for run in runs}
    path = out / "settings.json"
    started = any((out / "runs").iterdir())
    if started and not resume:
        raise FileExistsError(f"{out} holds runs already. Pass --resume to go on with them, or another --out.")
    if started and path.exists():
        before = json.loads(path.read_text())
        changed = [name for name in settings if name in before and before[name] != settings[name]]
        if changed:
            raise FileExistsError(
                f"{out} holds runs of other settings ({', '.join(changed)}; see {path}). Pass another --out."
            )
        settings = {**before, **settings}
    path.write_text(json.dumps(settings, indent=2) + "\n")


def versions() -> dict[str, Any]:
    """Versions of what the figures depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


def wall_time(done: Invocation, n_runs: int, seconds: float) -> str:
    """
    :param done: What was done
    :param n_runs: Runs of the whole set
    :param seconds: How long it took
    :return: A sentence on it
    """
    minutes, rest = divmod(round(seconds), 60)
    earlier = f" ({n_runs - done.runs} finished earlier)" if done.runs < n_runs else ""
    words = ("run" if done.runs == 1 else "runs", "worker" if done.workers == 1 else "workers")
    return f"{done.runs} {words[0]} in {minutes}:{rest:02d} on {done.workers} {words[1]}{earlier}"
