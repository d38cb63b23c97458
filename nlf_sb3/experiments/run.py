"""One training run, on whichever machine it runs."""

from __future__ import annotations

import os
import threading
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import torch as th

from nlf_sb3.experiments.protocols import Arm, Protocol, make_model
from nlf_sb3.experiments.recording import EpisodeRecorder

PACKAGES = ("nlf-sb3", "stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")
_NO_STEP_LIMIT = 10**12
# A run seeds the generators of Python, NumPy and torch, which its process has but once.
_ONE_RUN_A_PROCESS = threading.Lock()


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


@dataclass(frozen=True)
class Outcome:
    """
    What comes back from where a run ran.

    :param name: The run's name
    :param error: What went wrong
    :param rows: The content of its file, from a worker that could not write it to its place
    """

    name: str
    error: str | None = None
    rows: bytes | None = None


@cache
def software() -> dict[str, str]:
    """Releases of what the figures depend on, without a build's suffix, in which the machines of a cluster may differ."""
    package = Path(str(files("nlf_sb3")))
    # Two checkouts may have one version, and other ends of lines.
    code = b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(package.rglob("*.py")))
    return {name: version(name).split("+")[0] for name in PACKAGES} | {"code of nlf-sb3": sha256(code).hexdigest()[:12]}


def perform(run: Run, out: Path, mark: Path, expected: dict[str, str]) -> Outcome:
    """
    Train one run and write its episodes; the file takes its name when it is complete.

    :param run: The run
    :param out: Folder of the whole experiment
    :param mark: A file in it, by which a worker on another machine knows whether the folder is the same there
    :param expected: :func:`software` where the set was started; a run with another is refused
    :return: How it went
    """
    try:
        if other := {name: found for name, found in software().items() if found != expected.get(name)}:
            raise RuntimeError(f"The worker has other software: found {other}, expected {expected}.")
        with ExitStack() as stack:
            stack.enter_context(_ONE_RUN_A_PROCESS)
            is_shared = mark.exists()
            folder = run.file(out).parent if is_shared else Path(stack.enter_context(TemporaryDirectory()))
            # A name of its own: an earlier attempt may go on where an interrupt did not reach it.
            unfinished = folder / f"{run.name}.{uuid4().hex[:8]}.part"
            _train(run, unfinished)
            if not is_shared:
                return Outcome(run.name, rows=unfinished.read_bytes())
            os.replace(unfinished, run.file(out))
    except Exception:  # the other runs go on, and the report names this one
        return Outcome(run.name, error=traceback.format_exc())
    return Outcome(run.name)


def _train(run: Run, path: Path) -> None:
    th.set_num_threads(1)  # runs are parallel; their networks are too small to be
    recorder = EpisodeRecorder(
        path,
        run.protocol.name,
        run.arm,
        run.seed,
        episodes=run.protocol.episodes[run.arm],
        episodes_per_row=2 if run.arm == "control" else 1,
    )
    make_model(run.protocol, run.arm, run.seed).learn(_NO_STEP_LIMIT, callback=recorder)
