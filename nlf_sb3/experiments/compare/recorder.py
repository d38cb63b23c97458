"""What an arm reports to: evaluates it as it trains, and writes a row each time."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.experiments.compare.evaluation import Evaluator, Predict
from nlf_sb3.experiments.compare.watch import Watch

FIRST_EVALUATION = 100
_GROWTH = 1.15


@dataclass(frozen=True)
class EvaluationRow:
    """
    One evaluation; from ``agent_steps`` to ``seconds`` everything is cumulative over the run.

    :param env: Environment
    :param arm: Arm
    :param expert: The expert's name, ``none`` without one
    :param seed: Seed
    :param agent_steps: Steps of the agent's environments
    :param expert_steps: Steps that an expert took
    :param expert_labels: Labels that an expert gave
    :param gradient_steps: Optimiser steps of the policy
    :param seconds: Wall-clock time of training, without evaluations
    :param mean_return: Mean of the evaluation's undiscounted returns, actions being the policy's mode
    :param std_return: Their standard deviation
    :param train_return: Mean return of training episodes since the evaluation before; NaN if none ended
    :param reached: Whether ``mean_return`` is what the run was to stop at, if it was to stop at any
    """

    env: str
    arm: str
    expert: str
    seed: int
    agent_steps: int
    expert_steps: int
    expert_labels: int
    gradient_steps: int
    seconds: float
    mean_return: float
    std_return: float
    train_return: float
    reached: bool


COLUMNS = [field.name for field in fields(EvaluationRow)]


class Recorder:
    """
    Evaluates whoever trains and writes :class:`EvaluationRow` after :class:`EvaluationRow`.

    Evaluations are due at agent steps that grow by 15% from one to the next, and at the end. They happen in environments
    of their own, take nothing from any random stream, and their time doesn't count.

    :param path: CSV file to write
    :param env_id: Gymnasium's id of the environment
    :param arm: Name of the arm
    :param expert: Name of the expert
    :param seed: Seed of the run, which also decides on the evaluations' episodes
    :param timesteps: The most steps that the agent may take
    :param n_eval_episodes: Episodes of each evaluation
    :param first_evaluation: Agent steps at which the first one is due
    :param stop_at_return: Mean return at which the run may stop; None to use up its steps
    """

    def __init__(
        self,
        path: Path,
        *,
        env_id: str,
        arm: str,
        expert: str,
        seed: int,
        timesteps: int,
        n_eval_episodes: int = 20,
        first_evaluation: int = FIRST_EVALUATION,
        stop_at_return: float | None = None,
    ) -> None:
        self.timesteps = timesteps
        self.reached = False
        """Whether the return to stop at has been reached: the arm should end."""
        self.n_rows = 0
        self._names = (env_id, arm, expert, seed)
        self._stop_at_return = stop_at_return
        self._due = float(first_evaluation)
        self._evaluator = Evaluator(env_id, seed, n_eval_episodes)
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self._began = time.perf_counter()
        self._evaluating = 0.0

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._evaluator.close()

    def is_due(self, agent_steps: int) -> bool:
        """
        :param agent_steps: Steps that the agent has taken
        :return: Whether an evaluation is due
        """
        return agent_steps >= self._due

    def callback(
        self, *, agent_steps: int = 0, expert_steps: int = 0, expert_labels: int = 0, gradient_steps: int = 0
    ) -> BaseCallback:
        """
        What evaluates an SB3-style learner on the grid and at its end, and stops it at its budget. Arguments say what
        was spent before the learner began, as by behavioural cloning; its own counts come on top.

        :param agent_steps: Steps of the agent
        :param expert_steps: Steps of the expert
        :param expert_labels: Labels of the expert
        :param gradient_steps: Optimiser steps
        :return: For ``learn(callback=...)``
        """
        return Watch(self, agent_steps, expert_steps, expert_labels, gradient_steps)

    def evaluate(
        self,
        policy_predict: Predict,
        *,
        agent_steps: int,
        expert_steps: int,
        expert_labels: int,
        gradient_steps: int,
        train_return: float = math.nan,
    ) -> float:
        """
        Evaluate a policy now and write a row. For arms that are no SB3 learners; they ask :meth:`is_due` when, evaluate
        once more at their end, and end early once :attr:`reached` says so.

        :param policy_predict: As ``predict`` of SB3's policies: batches of raw observations to environment-scale actions
        :param agent_steps: Steps that the agent has taken so far
        :param expert_steps: Steps that an expert has taken so far
        :param expert_labels: Labels that an expert has given so far
        :param gradient_steps: Optimiser steps so far
        :param train_return: Mean return of the training episodes since the last evaluation
        :return: The mean return
        """
        began = time.perf_counter()
        returns = self._evaluator.returns(policy_predict)
        while self._due <= agent_steps:
            self._due *= _GROWTH
        mean = float(returns.mean())
        reached = self._stop_at_return is not None and mean >= self._stop_at_return
        self.reached = self.reached or reached
        row = EvaluationRow(
            *self._names,
            agent_steps=agent_steps,
            expert_steps=expert_steps,
            expert_labels=expert_labels,
            gradient_steps=gradient_steps,
            seconds=round(began - self._began - self._evaluating, 4),
            mean_return=mean,
            std_return=float(returns.std()),
            train_return=train_return,
            reached=reached,
        )
        self._writer.writerow(astuple(row))
        self._file.flush()  # who watches the run reads how far it is from the file
        self.n_rows += 1
        self._evaluating += time.perf_counter() - began
        return mean
