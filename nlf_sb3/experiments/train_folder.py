"""What a training run keeps in its folder: its settings, its checkpoints, and the names of everything else."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stable_baselines3.common.vec_env import VecNormalize

from nlf_sb3.experiments.train import Train

_MAY_CHANGE = ("out", "resume", "timesteps", "device", "threads", "tensorboard", "checkpoint_every", "eval_every")
_PACKAGES = ("nlf-sb3", "stable-baselines3", "gymnasium", "torch", "numpy")


@dataclass(frozen=True)
class Checkpoint:
    """
    A model on the way, as Stable-Baselines3's CheckpointCallback names it.

    :param folder: The folder of checkpoints
    :param steps: Steps that it was trained for
    """

    folder: Path
    steps: int

    @property
    def model(self) -> Path:
        """The model."""
        return self.folder / f"rl_model_{self.steps}_steps.zip"

    @property
    def statistics(self) -> Path:
        """Its VecNormalize statistics, if there are any."""
        return self.folder / f"rl_model_vecnormalize_{self.steps}_steps.pkl"

    @property
    def counts(self) -> dict[str, float]:
        """What had been counted by then."""
        counts: dict[str, float] = json.loads(self._counts_file.read_text())
        return counts

    @property
    def _counts_file(self) -> Path:
        return self.folder / f"rl_model_counts_{self.steps}_steps.json"

    def save(self, model: Any, counts: dict[str, float]) -> None:
        """
        Save it whole or not at all: the model takes its name when everything is there.

        :param model: The model
        :param counts: What has been counted
        """
        self.folder.mkdir(exist_ok=True)
        save_statistics(model, self.statistics)
        self._counts_file.write_text(json.dumps(counts) + "\n")
        unfinished = self.model.with_suffix(".part")
        model.save(unfinished)
        os.replace(unfinished, self.model)


def save_statistics(model: Any, path: Path) -> None:
    """
    :param model: A model
    :param path: Where the statistics go, if its environment has them
    """
    vec_normalize: VecNormalize | None = model.get_vec_normalize_env()
    if vec_normalize is not None:
        vec_normalize.save(str(path))


class RunFolder:
    """
    The folder of one training run.

    :param options: The command's
    :raises FileExistsError: If it is there without ``--resume``, or holds something else
    :raises ValueError: If it holds a run of other settings
    """

    def __init__(self, options: Train) -> None:
        self.path = options.out
        self.is_new = not self.path.exists()
        self._settings = _settings(options)
        if self.is_new:
            return
        if not options.resume:
            raise FileExistsError(f"{self.path} exists already. Pass --resume to go on with it, or another --out.")
        file = self.path / "settings.json"
        if not file.exists():
            raise FileExistsError(f"{self.path} has no settings.json, so that it is no run to resume. Pass another --out.")
        before = json.loads(file.read_text())["settings"]
        changes = [
            f"{name} was {before.get(name)!r} and is {value!r}"
            for name, value in self._settings.items()
            if name not in _MAY_CHANGE and before.get(name) != value
        ]
        if changes:
            raise ValueError(
                f"{self.path} holds a run of other settings: {'; '.join(changes)}. Repeat its command ({file}), "
                "or pass another --out."
            )

    def write_settings(self) -> None:
        """Make the folder, and write down what runs in it."""
        (self.path / "monitor").mkdir(parents=True, exist_ok=True)
        record = {"settings": self._settings, "versions": {name: version(name) for name in _PACKAGES}}
        (self.path / "settings.json").write_text(json.dumps(record, indent=2) + "\n")

    def newest_checkpoint(self) -> Checkpoint | None:
        """The checkpoint after the most steps, if there is one."""
        names = (re.fullmatch(r"rl_model_(\d+)_steps", path.stem) for path in self.checkpoints.glob("*.zip"))
        steps = [int(name.group(1)) for name in names if name]
        return self.checkpoint(max(steps)) if steps else None

    def checkpoint(self, steps: int) -> Checkpoint:
        """
        :param steps: Steps
        :return: The checkpoint after that many, whether it is there or not
        """
        return Checkpoint(self.checkpoints, steps)

    def session(self) -> int:
        """How many times training has begun or gone on here, this time included."""
        return 1 + len(list((self.path / "monitor").glob("0.*monitor.csv")))

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The model at the end."""
        return self.path / "model.zip"

    @property
    def summary(self) -> Path:
        """The figures at the end."""
        return self.path / "summary.json"


def _settings(options: Train) -> dict[str, Any]:
    """The options as plain data, with a fingerprint of each file among them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(options), default=str))
    for name in ("expert", "expert_statistics", "demonstrations"):
        value = getattr(options, name)
        path = None if value is None else Path(value)
        if path is not None and path.is_dir():
            path = path / "model.zip"
        if path is not None and path.is_file():
            plain[f"{name}_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return plain
