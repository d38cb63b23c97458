"""The record of a trained model: digests of its numbers, and the values that it logged."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch as th
from stable_baselines3.common.logger import KVWriter, Logger

from benchmarks.gate import cases


class Dumps(KVWriter):
    """Keeps each dump of a logger."""

    def __init__(self) -> None:
        self.dumps: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.dumps.append(dict(key_values))

    def close(self) -> None:
        pass


def digest(arrays: dict[str, Any]) -> str:
    """
    :param arrays: Tensors, arrays and numbers by name
    :return: A digest of all their bits
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        value = arrays[name]
        array = value.detach().cpu().numpy() if isinstance(value, th.Tensor) else np.asarray(value)
        total.update(f"{name} {array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:32]


def run_case(name: str) -> dict[str, Any]:
    """
    :param name: Name of a case
    :return: Digests of its parameters and of its optimiser's state, and what it logged, without times
    """
    dumps = Dumps()
    model = cases.learn(name, lambda made: made.set_logger(Logger(folder=None, output_formats=[dumps])))
    state = model.policy.optimizer.state_dict()["state"]
    optimiser = {f"{index}/{key}": value for index, entry in state.items() for key, value in entry.items()}
    logged = [
        {key: _plain(value) for key, value in values.items() if not key.startswith("time/") and _is_number(value)}
        for values in [*dumps.dumps, model.logger.name_to_value]
    ]
    return {"parameters": digest(dict(model.policy.state_dict())), "optimiser": digest(optimiser), "logged": logged}


def machine() -> dict[str, str]:
    """The machine and versions, on which bits depend too."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    versions = {
        "torch": th.__version__,
        "stable-baselines3": stable_baselines3.__version__,
        "gymnasium": gymnasium.__version__,
    }
    return {"processor": processor, "python": platform.python_version(), "numpy": np.__version__, **versions}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.number) else value
