"""Baselines that only imitate: behavioural cloning and DAgger, by the imitation library itself."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.errors import require
from nlf_sb3.experiments.compare.counting import GradientSteps
from nlf_sb3.experiments.compare.expert_policy import ExpertPolicy
from nlf_sb3.experiments.compare.expert_rows import expert_rows, seeded_env, seeded_expert
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.interop.imitation.policies import silent_logger
from nlf_sb3.seeding import derived_generator, derived_seed

FIRST_LABELS = 32
"""Labels of the first clone: one batch of imitation's."""
LABELS_GROWTH = 1.3
MIN_BATCHES = 2_000
"""Optimiser steps of a clone at least; one of many labels passes :data:`MIN_EPOCHS` times through them."""
MIN_EPOCHS = 4


def label_grid(most: int) -> list[int]:
    """
    :param most: The last number
    :return: Numbers of labels, each 30% above the one before
    """
    n_numbers = 1 + max(0, int(np.ceil(np.log(most / FIRST_LABELS) / np.log(LABELS_GROWTH))))
    grid = np.geomspace(min(FIRST_LABELS, most), most, n_numbers)
    return [int(number) for number in np.unique(grid.round())]


def train_bc(task: Task) -> None:
    """
    Behavioural cloning (Pomerleau, 1991) from more and more labels: a policy of its own for each number of them.

    Rows are the expert's episodes; the agent never acts. Network and settings are imitation's defaults, which leaves open
    how long to train.

    :param task: What to do; its arguments are those of imitation's ``BC``
    """
    rows = expert_rows(task, task.timesteps)
    env = task.make_env()
    n_gradient_steps = 0
    for n_labels in label_grid(task.timesteps):
        with _surroundings(task.seed), GradientSteps() as gradient_steps:
            batch_size = min(task.arguments.get("batch_size", 32), n_labels)
            trainer = _make_bc(task, env, demonstrations=rows[:n_labels], batch_size=batch_size)
            n_batches = max(MIN_BATCHES, MIN_EPOCHS * n_labels // batch_size)
            trainer.train(n_batches=n_batches, progress_bar=False)
        n_gradient_steps += gradient_steps.count  # of all clones, as their seconds
        task.recorder.evaluate(
            trainer.policy.predict,
            agent_steps=0,
            expert_steps=n_labels,
            expert_labels=n_labels,
            gradient_steps=n_gradient_steps,
        )
        if task.recorder.reached:
            break
    env.close()


@dataclass(frozen=True)
class Rounds:
    """
    What a round of DAgger is. Defaults are imitation's.

    :param min_episodes: Episodes of a round at least
    :param min_timesteps: Steps of a round at least
    :param growth: Steps of a round at least, as a share of the labels so far
    :param rampdown: Rounds in which the expert's share of the actions falls from 1 to 0
    :param training: Arguments of ``BC.train``: how long each round trains, on all labels so far
    """

    min_episodes: int = 3
    min_timesteps: int = 500
    growth: float = 0.0
    rampdown: int = 15
    training: dict[str, Any] = field(default_factory=dict)


TUNED_ROUNDS = Rounds(min_episodes=1, min_timesteps=100, growth=0.1, rampdown=1, training={"n_batches": 500})
"""Rounds of 100 steps, later of a tenth of the labels so far, instead of three episodes and 500 steps. The expert acts in the
first alone (Ross et al.'s own choice), and each trains for 500 batches: four passes through few labels teach nothing."""


def train_dagger(task: Task, rounds: Rounds) -> None:
    """
    DAgger (Ross, Gordon and Bagnell, 2011, https://arxiv.org/abs/1011.0686), by imitation's ``SimpleDAggerTrainer``.

    The expert labels every step, whoever acts in it. Steps in which it acts itself are its own, the others the agent's.

    :param task: What to do; its arguments are those of imitation's ``BC``
    :param rounds: How
    """
    dagger: Any = require("imitation.algorithms.dagger", "imitation", "DAgger")
    env = seeded_env(task, "dagger")
    expert = ExpertPolicy(seeded_expert(task), env.observation_space, env.action_space)
    with tempfile.TemporaryDirectory() as folder, _surroundings(task.seed), GradientSteps() as gradient_steps:
        trainer = dagger.SimpleDAggerTrainer(
            venv=env,
            scratch_dir=folder,
            expert_policy=expert,
            rng=derived_generator(task.seed, "dagger"),
            beta_schedule=dagger.LinearBetaSchedule(rounds.rampdown),
            bc_trainer=_make_bc(task, env),
            custom_logger=silent_logger(),
        )
        predict = trainer.policy.predict
        agents = trainer.policy.predict = _CountsRows(predict)
        while expert.n_answers < task.timesteps and not task.recorder.reached:
            trainer.train(
                1,  # one round: it goes on until there are so many steps
                rollout_round_min_episodes=rounds.min_episodes,
                rollout_round_min_timesteps=max(rounds.min_timesteps, int(rounds.growth * expert.n_answers)),
                bc_train_kwargs={"log_rollouts_venv": None, "progress_bar": False, **rounds.training},
            )
            task.recorder.evaluate(
                predict,
                agent_steps=agents.n_rows,
                expert_steps=expert.n_answers - agents.n_rows,
                expert_labels=expert.n_answers,
                gradient_steps=gradient_steps.count,
            )
    env.close()


class _CountsRows:
    """A policy's ``predict`` that counts what it was asked."""

    def __init__(self, predict: Callable[..., Any]) -> None:
        self._predict = predict
        self.n_rows = 0

    def __call__(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        self.n_rows += len(observation)
        return self._predict(observation, *args, **kwargs)


def _make_bc(task: Task, env: gym.Env | VecEnv, **arguments: Any) -> Any:
    bc: Any = require("imitation.algorithms.bc", "imitation", "Behavioural cloning")
    return bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        rng=derived_generator(task.seed, "cloning"),
        device="cpu",
        custom_logger=silent_logger(),
        **{**task.arguments, **arguments},
    )


@contextlib.contextmanager
def _surroundings(seed: int) -> Iterator[None]:
    """While active, torch draws from a stream of the seed's own, and imitation and its files are silent."""
    datasets: Any = require("datasets.utils", "imitation", "imitation")
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with th.random.fork_rng(devices=[]), warnings.catch_warnings():
            _ = th.manual_seed(derived_seed(seed, "imitation") or 0)
            # imitation unwraps its own dictionaries of tensors, logs tensors of its own loss, and writes infos by old rules.
            for message in ("trying to unwrap object", "Converting a tensor with requires_grad=True", "keys will default"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        if shown:
            datasets.enable_progress_bars()
