"""Write one row for each episode of a run, as it ends."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from stable_baselines3.common.callbacks import BaseCallback


@dataclass(frozen=True)
class EpisodeRow:
    """
    One counted episode; everything after ``length`` is cumulative over the run.

    :param protocol: Protocol
    :param arm: Arm
    :param seed: Seed
    :param episode: Its number, from 1
    :param episode_return: The agent's undiscounted return (``return`` in files)
    :param length: The agent's steps in it
    :param agent_steps: Steps of the agent's environments
    :param expert_steps: Steps that an expert took in twins
    :param expert_queries: Labels that an expert gave
    :param gradient_steps: Optimiser steps before the episode ended
    :param seconds: Wall-clock time
    """

    protocol: str
    arm: str
    seed: int
    episode: int
    episode_return: float
    length: float
    agent_steps: int
    expert_steps: int
    expert_queries: int
    gradient_steps: int
    seconds: float


COLUMNS = [field.name.replace("episode_return", "return") for field in fields(EpisodeRow)]


class EpisodeRecorder(BaseCallback):
    """
    Writes :class:`EpisodeRow` after :class:`EpisodeRow`, and stops training after enough of them.

    :param path: CSV file to write
    :param protocol: Name of the protocol
    :param arm: Name of the arm
    :param seed: Seed of the run
    :param episodes: Rows after which training stops
    :param episodes_per_row: Episodes of the agent that count as one; their returns and lengths are averaged
    """

    def __init__(self, path: Path, protocol: str, arm: str, seed: int, episodes: int, episodes_per_row: int = 1) -> None:
        super().__init__()
        self._path = path
        self._names = (protocol, arm, seed)
        self._episodes = episodes
        self._episodes_per_row = episodes_per_row
        self._pending: list[tuple[float, float]] = []
        self._rows = 0
        self._gradient_steps = 0
        self._file: TextIO | None = None

    def _on_training_start(self) -> None:
        self._file = self._path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self._start = time.perf_counter()
        self._hook = self.model.policy.optimizer.register_step_post_hook(self._count_gradient_step)

    def _count_gradient_step(self, *_: Any) -> None:
        self._gradient_steps += 1

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self._pending.append((info["episode"]["r"], info["episode"]["l"]))
                if len(self._pending) == self._episodes_per_row:
                    self._write_row()
        return self._rows < self._episodes

    def _write_row(self) -> None:
        self._rows += 1
        returns, lengths = zip(*self._pending, strict=True)
        self._pending.clear()
        model: Any = self.model
        row = EpisodeRow(
            *self._names,
            episode=self._rows,
            episode_return=sum(returns) / len(returns),
            length=sum(lengths) / len(lengths),
            agent_steps=model.num_timesteps,
            expert_steps=model.num_expert_steps,
            expert_queries=model.num_expert_queries,
            gradient_steps=self._gradient_steps,
            seconds=round(time.perf_counter() - self._start, 4),
        )
        self._writer.writerow([getattr(row, field.name) for field in fields(row)])
        if self._rows % 20 == 0:
            assert self._file is not None
            self._file.flush()  # who watches the run counts the rows in the file

    def _on_training_end(self) -> None:
        self._hook.remove()
        assert self._file is not None
        self._file.close()
