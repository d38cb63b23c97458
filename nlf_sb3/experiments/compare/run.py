"""One run of a comparison: an arm, on an environment, with a seed and perhaps an expert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import torch as th

from nlf_sb3.experiments.compare.arms import ARMS
from nlf_sb3.experiments.compare.experts import believed_return, make_expert
from nlf_sb3.experiments.compare.recorder import COLUMNS, Recorder
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.experiments.run import TrainingRun

NO_EXPERT = "none"


def label_of(arm: str, expert: str) -> str:
    """
    >>> label_of("ppo", "none"), label_of("joint", "lqr")
    ('ppo', 'joint (lqr)')

    :param arm: Name of an arm
    :param expert: Name of its expert
    :return: What reports call it
    """
    return arm if expert == NO_EXPERT else f"{arm} ({expert})"


@dataclass(frozen=True)
class ComparisonRun(TrainingRun):
    """
    One training run of a comparison.

    :param env_id: Gymnasium's id of the environment
    :param arm: Name of its arm
    :param expert: Name of its expert, :data:`NO_EXPERT` without one
    :param seed: Its seed
    :param timesteps: The most steps that the agent may take
    :param n_eval_episodes: Episodes of each evaluation
    :param first_evaluation: Agent steps at which the first evaluation is due
    :param stop_at_return: Mean return at which it may stop
    :param arguments: What it overrides of the arm's arguments
    """

    env_id: str
    arm: str
    expert: str
    seed: int
    timesteps: int
    n_eval_episodes: int
    first_evaluation: int
    stop_at_return: float | None
    arguments: dict[str, Any]

    counted_column: ClassVar[int] = COLUMNS.index("agent_steps")

    @property
    def name(self) -> str:
        parts = [self.env_id, self.arm, *([] if self.expert == NO_EXPERT else [self.expert])]
        return "_".join([*map(for_files, parts), f"{self.seed:03d}"])

    @property
    def kind(self) -> str:
        return f"{self.env_id}, {label_of(self.arm, self.expert)}"

    def settings(self) -> dict[str, Any]:
        names = ("timesteps", "n_eval_episodes", "first_evaluation", "stop_at_return")
        arguments = {key: repr(value) for key, value in self.arguments.items()}
        settings = {**{name: getattr(self, name) for name in names}, "arguments": arguments}
        if Path(self.expert).is_file():
            settings["expert_sha256"] = sha256(Path(self.expert).read_bytes()).hexdigest()
        return settings

    @property
    def length(self) -> int:
        return self.timesteps

    def train(self, path: Path) -> None:
        arm = ARMS[self.arm]
        mode = not arm.samples_expert
        expert = make_expert(self.env_id, self.expert, self.seed, deterministic=mode) if arm.needs_expert else None
        th.optim.Adam([th.zeros(1)])  # the first one of a process imports for a second, which no arm shall be charged for
        with Recorder(
            path,
            env_id=self.env_id,
            arm=self.arm,
            expert=self.expert,
            seed=self.seed,
            timesteps=self.timesteps,
            n_eval_episodes=self.n_eval_episodes,
            first_evaluation=self.first_evaluation,
            stop_at_return=self.stop_at_return,
        ) as recorder:
            believed = None if expert is None else believed_return(self.env_id, self.expert)
            arm.train(Task(self.env_id, self.seed, self.timesteps, expert, self.expert, self.arguments, recorder, believed))
            if not recorder.n_rows:
                raise RuntimeError(
                    f"arm {self.arm}: it ended without an evaluation; its train has to report to task.recorder."
                )


def for_files(text: str) -> str:
    """
    >>> for_files("CartPole-v1"), for_files("models/best.zip")
    ('CartPole-v1', 'models-best-zip-15ff4a')

    :param text: Any text
    :return: The same as part of a file's name, without dots; what had to be changed is told apart by a hash of the whole
    """
    clean = re.sub(r"[^A-Za-z0-9-]+", "-", text)
    return clean if clean == text else f"{clean}-{sha256(text.encode()).hexdigest()[:6]}"
