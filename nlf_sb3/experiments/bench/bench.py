"""Run the parts of the bench that were chosen, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nlf_sb3.experiments.bench import injection, joint, parts, reinforce, scaling
from nlf_sb3.experiments.bench.records import Measurement, Trial
from nlf_sb3.experiments.bench.report import circumstances, table_of, write_json
from nlf_sb3.experiments.bench.timing import one_thread

PARTS: dict[str, Callable[[], list[Trial]]] = {
    "reinforce": reinforce.trials,
    "joint": joint.trials,
    "expert": parts.expert_trials,
    "wrapper": parts.wrapper_trials,
    "injection": injection.trials,
    "import": parts.import_trials,
    "scaling": scaling.trials,
}
_FIRST_SEED = 1
_WARM_UP_SCALE = 0.1


def bench(out: Path, *, chosen: Sequence[str], repeats: int, scale: float, console: Console) -> list[Measurement]:
    """
    Measure the parts and write ``bench.json``, after every part anew.

    :param out: Folder for the file
    :param chosen: Names of parts
    :param repeats: Repeats of each measurement, each with a seed of its own
    :param scale: Factor on every number of steps
    :param console: Shows progress and the table
    :return: What was measured
    :raises ValueError: For arguments that don't work
    :raises FileExistsError: If there is such a file already
    """
    chosen = list(dict.fromkeys(chosen))
    _check_arguments(chosen, repeats, scale)
    path = out / "bench.json"
    if path.exists():
        raise FileExistsError(f"{path} exists already. Pass another --out.")
    out.mkdir(parents=True, exist_ok=True)
    measurements: list[Measurement] = []
    finished: list[str] = []
    try:
        # No refreshing thread: it would run beside what is timed.
        with one_thread(), Progress(*_columns(), console=console, auto_refresh=False) as progress:
            about = {"repeats": repeats, "scale": scale, "parts": finished, **circumstances()}
            bar = progress.add_task("parts", total=len(chosen))
            for part in chosen:
                measurements += _run_part(part, repeats, scale, progress)
                finished.append(part)
                write_json(path, measurements, about)
                progress.advance(bar)
    except KeyboardInterrupt:
        kept = f"{path} keeps {', '.join(finished)}" if finished else "no part was finished"
        raise KeyboardInterrupt(f"interrupted; {kept}") from None
    finally:
        if measurements:
            console.print(table_of(measurements, repeats, scale))
    console.print(f"Measurements: {path}")
    return measurements


def _check_arguments(chosen: list[str], repeats: int, scale: float) -> None:
    unknown = [part for part in chosen if part not in PARTS]
    if unknown or not chosen:
        raise ValueError(f"parts: got {', '.join(unknown) or 'none'}, expected some of {', '.join(PARTS)}.")
    if repeats < 1:
        raise ValueError(f"repeats: got {repeats}, expected at least 1.")
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale: got {scale}, expected a positive number.")


def _columns() -> tuple[TextColumn, BarColumn, MofNCompleteColumn, TimeElapsedColumn]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


def _run_part(part: str, repeats: int, scale: float, progress: Progress) -> list[Measurement]:
    trials = PARTS[part]()
    bar = progress.add_task(part, total=sum(trial.warm_up + trial.repeats(repeats) for trial in trials))
    measurements = []
    for trial in trials:
        progress.update(bar, description=f"{part}: {trial.name}", refresh=True)
        measured = []
        if trial.warm_up:
            trial.measure(_FIRST_SEED, _WARM_UP_SCALE * scale)
            progress.update(bar, advance=1, refresh=True)
        for repeat in range(trial.repeats(repeats)):
            measured.append(trial.measure(_FIRST_SEED + repeat, scale))
            progress.update(bar, advance=1, refresh=True)
        measurements += [figure.measurement(part, measured) for figure in trial.figures]
    progress.update(bar, description=part, refresh=True)
    return measurements
