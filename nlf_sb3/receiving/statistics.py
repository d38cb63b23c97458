"""Counts of a rollout's feedback, for the logger."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.logger import Logger

from nlf_sb3.feedback import Feedback
from nlf_sb3.segments import ExpertSegment


@dataclass
class FeedbackStatistics:
    """
    Counts of feedback. Rates and means go to the logger for each rollout; totals are the whole training's.

    A logger is dumped more rarely than rollouts end, and keeps the last value or a mean, never a sum.
    """

    late: int = 0
    late_replayed: int = 0
    skipped: int = 0
    segments: int = 0
    dropped_segments: int = 0
    total_records: int = 0
    total_executed: int = 0
    total_texts: int = 0
    total_texts_used: int = 0
    expert_queries: int = 0
    expert_steps: int = 0
    losing: set[int] = field(default_factory=set)
    _steps: int = 0
    _executed: int = 0
    _records: int = 0
    _texts: int = 0
    _scores: list[float] = field(default_factory=list)
    _segment_returns: list[float] = field(default_factory=list)
    _fork_steps: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Begin a training: its budget of labels is whole again."""
        self.expert_queries = self.expert_steps = 0

    def state_dict(self) -> dict[str, int]:
        """
        :return: The counts that a training needs in order to go on
        """
        return {"expert_queries": self.expert_queries, "expert_steps": self.expert_steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """
        :param state: As :meth:`state_dict` returned it
        """
        self.expert_queries, self.expert_steps = state["expert_queries"], state["expert_steps"]

    def count_steps(self, n_steps: int) -> None:
        """
        :param n_steps: Environment steps taken
        """
        self._steps += n_steps

    def count(self, feedback: Feedback) -> None:
        """
        :param feedback: A record that reached the learner
        """
        self.total_records += 1
        self._records += 1
        self._texts += feedback.text is not None
        self.total_texts += feedback.text is not None
        if feedback.score is not None:
            self._scores.append(feedback.score)

    def count_used_texts(self, n_texts: int) -> None:
        """
        :param n_texts: Remarks that became labels
        """
        self.total_texts_used += n_texts

    def count_executed(self) -> None:
        """Count a step in which an expert acted."""
        self.total_executed += 1
        self._executed += 1

    def count_segment(self, segment: ExpertSegment) -> None:
        """
        :param segment: An injected episode that reached the learner
        """
        self.segments += 1
        self._segment_returns.append(float(segment.rewards.sum()))
        self._fork_steps.append(segment.fork_step)

    def record(self, logger: Logger) -> None:
        """
        Log a rollout, and begin the next.

        :param logger: Receives ``feedback/*`` and ``injection/*``, each only where there is something to say
        """
        if self.total_records:
            logger.record_mean("feedback/rate", self._records / max(self._steps, 1))
            logger.record_mean("feedback/text_rate", self._texts / max(self._steps, 1))
        if self._scores:
            logger.record_mean("feedback/score_mean", float(np.mean(self._scores)))
        for name in ("late", "late_replayed", "skipped"):
            if getattr(self, name):
                logger.record(f"feedback/{name}", getattr(self, name))
        if self.dropped_segments:
            logger.record("injection/dropped", self.dropped_segments)
        if self._segment_returns:
            logger.record("injection/segments", self.segments)
            logger.record_mean("injection/segment_return_mean", float(np.mean(self._segment_returns)))
            logger.record_mean("injection/fork_step_mean", float(np.mean(self._fork_steps)))
        if self.total_executed:
            logger.record_mean("injection/takeover_rate", self._executed / max(self._steps, 1))
        self._steps = self._records = self._texts = self._executed = 0
        self._scores, self._segment_returns, self._fork_steps = [], [], []


def expert_agreement(taken: np.ndarray, expert: np.ndarray, space: spaces.Space) -> float:
    """
    How close the agent's actions are to the expert's.

    :param taken: Actions taken, ``[n, ...]``
    :param expert: The expert's actions on the same rows, ``[n, ...]``
    :param space: The action space
    :return: The share of equal actions; for Box spaces minus the root mean squared difference
    """
    taken, expert = taken.reshape(len(taken), -1), expert.reshape(len(expert), -1)
    if isinstance(space, spaces.Box):
        difference = (taken.astype(np.float64) - expert).reshape(-1)
        return -math.sqrt(difference.dot(difference) / difference.size)
    return float(np.mean(np.all(taken == expert, axis=1)))
