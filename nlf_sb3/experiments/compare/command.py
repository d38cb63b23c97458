"""The options of nlf-sb3 compare."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import UseAppendAction

from nlf_sb3.experiments.compare.recorder import FIRST_EVALUATION


@dataclass
class Compare:
    """
    Train any arms on any environments with several seeds, and report which of them learns from least.

    An arm is an algorithm with its numbers, with an expert or without. All arms of a seed are evaluated on the same
    episodes. Writes into OUT: evaluations.csv (a row for each evaluation of each run), summary.json, a picture of each
    environment, and REPORT.md with all tables and what their columns mean. Interrupt it whenever you like: with --resume
    it goes on and repeats no finished run; more --seeds, --arms or --envs may be asked for then.

    For example: nlf-sb3 compare --envs InvertedPendulum-v5 --arms ppo joint --expert lqr --timesteps 20000
    """

    envs: tuple[str, ...]
    """Gymnasium's ids, for example CartPole-v1. Their episodes need a time limit."""
    arms: tuple[str, ...] = ("ppo", "ppo-preset", "joint")
    """reinforce, a2c, ppo: the defaults, without an expert. ppo-preset: the preset feedback, without one. paper: the preset
    paper. joint, joint-reinforce, joint-a2c: the preset feedback, and the expert labels every step, until alpha is 1.
    injection: the expert forks off the agent's episodes. Other people's methods: bc, dagger, dagger-tuned (by imitation, an
    extra), bc-ppo, dapg, jsrl. From words: text, text-sparse, text-joint, text-prediction, and from words that mean nothing
    text-shuffled, text-off-topic, text-odd. A name that isn't there is answered with all that are."""
    seeds: int = 5
    """Seeds of each arm: 1, 2, 3, 5, 8, then the other integers."""
    timesteps: int = 100_000
    """Steps of the agent in each run. Steps of an update that would end beyond them are not taken in."""
    expert: Annotated[tuple[str, ...], UseAppendAction] = ()
    """Who teaches: 100, 75, 50 or 25 (shipped policies with about that percentage of the best one's return, for CartPole-v1,
    InvertedPendulum-v5, InvertedDoublePendulum-v5 and Hopper-v5), negated (the opposite of 100), random, lqr, or a model's
    .zip. Given several times, each arm that needs an expert is run with each."""
    threshold: str | None = None
    """Mean return to reach: a number, or a part of the first expert's return, such as 95%. Left out: 95% where there is an
    expert, and what BASELINE ends at where there is none."""
    stop_at_threshold: bool = False
    """End a run as soon as an evaluation has reached the threshold, where only the way there matters."""
    baseline: str = "ppo"
    """The arm that the others are compared with; with several experts, with the first."""
    set: Annotated[tuple[str, ...], UseAppendAction] = ()
    """One argument of an arm, ARM.KEY=VALUE with a value as in Python, as often as there are arguments:
    --set joint.n_steps=256 --set ppo.policy_kwargs='{"net_arch": [32]}'. Fields of an argument that is an object have one more
    dot: --set joint.imitation.mode_trains_std=True."""
    eval_episodes: int = 20
    """Episodes of each evaluation."""
    first_evaluation: int = FIRST_EVALUATION
    """Agent steps at the first evaluation; from one to the next they grow by 15%."""
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Runs at a time, each in a process of its own."""
    out: Path = Path("results/compare")
    """Folder for everything that is written."""
    resume: bool = False
    """Go on with the runs that OUT holds."""

    needs: ClassVar[tuple[str, ...]] = ("joblib", "matplotlib", "pandas", "rich", "scipy")

    def run(self) -> None:
        """Run it."""
        from rich.console import Console

        from nlf_sb3.experiments.compare.compare import compare

        compare(self, Console())
