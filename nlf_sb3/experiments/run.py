"""One training run, on whichever machine it runs; and what a run is."""

from __future__ import annotations

import os
import threading
import traceback
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from uuid import uuid4

import torch as th

from nlf_sb3.experiments.protocols import Arm, Protocol, make_model
from nlf_sb3.experiments.recording import COLUMNS, EpisodeRecorder

PACKAGES = ("nlf-sb3", "stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")
_NO_STEP_LIMIT = 10**12
# A run seeds the generators of Python, NumPy and torch, which its process has but once.
_ONE_RUN_A_PROCESS = threading.Lock()


class TrainingRun(ABC):
    """What a set of runs is made of: it trains, and writes a CSV file meanwhile. Its settings are plain data."""

    counted_column: ClassVar[int]
    """Column of its file that grows to :attr:`length`, as progress bars show it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in files and progress bars, without a dot."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What its settings are the settings of: runs that differ in the seed alone have one kind."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides on its outcome beside its seed."""

    @property
    @abstractmethod
    def length(self) -> int:
        """What the counted column reaches at its end."""

    @abstractmethod
    def train(self, path: Path) -> None:
        """
        :param path: The file to write
        """

    def file(self, out: Path) -> Path:
        """
        :param out: Folder of the whole experiment
        :return: The run's file, there once it is finished
        """
        return out / "runs" / f"{self.name}.csv"


@dataclass(frozen=True)
class Run(TrainingRun):
    """
    One training run of the reproduction.

    :param protocol: Its protocol
    :param arm: Its arm
    :param seed: Its seed
    """

    protocol: Protocol
    arm: Arm
    seed: int

    counted_column: ClassVar[int] = COLUMNS.index("episode")

    @property
    def name(self) -> str:
        return f"{self.protocol.name}-{self.arm}-{self.seed:03d}"

    @property
    def kind(self) -> str:
        return self.protocol.name

    def settings(self) -> dict[str, Any]:
        return self.protocol.settings()

    @property
    def length(self) -> int:
        return self.protocol.episodes[self.arm]

    def train(self, path: Path) -> None:
        recorder = EpisodeRecorder(
            path,
            self.protocol.name,
            self.arm,
            self.seed,
            episodes=self.length,
            episodes_per_row=2 if self.arm == "control" else 1,
        )
        make_model(self.protocol, self.arm, self.seed).learn(_NO_STEP_LIMIT, callback=recorder)


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


def perform(run: TrainingRun, out: Path, mark: Path, expected: dict[str, str]) -> Outcome:
    """
    Train one run and write its rows; the file takes its name when it is complete.

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
            th.set_num_threads(1)  # runs are parallel; their networks are too small to be
            run.train(unfinished)
            if not is_shared:
                return Outcome(run.name, rows=unfinished.read_bytes())
            os.replace(unfinished, run.file(out))
    except Exception:  # the other runs go on, and the report names this one
        return Outcome(run.name, error=traceback.format_exc())
    return Outcome(run.name)
