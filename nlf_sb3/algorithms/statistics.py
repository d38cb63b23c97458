"""Counts of what a rollout's feedback said, for the logger."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.logger import Logger

from nlf_sb3.feedback import Feedback
from nlf_sb3.segments import ExpertSegment


@dataclass
class FeedbackStatistics:
    """What came in since the last time that it was logged."""

    steps: int = 0
    records: int = 0
    texts: int = 0
    late: int = 0
    skipped: int = 0
    scores: list[float] = field(default_factory=list)
    segment_returns: list[float] = field(default_factory=list)
    fork_steps: list[int] = field(default_factory=list)

    def count(self, feedback: Feedback) -> None:
        """
        :param feedback: A record that reached the learner
        """
        self.records += 1
        self.texts += feedback.text is not None
        if feedback.score is not None:
            self.scores.append(feedback.score)

    def count_segment(self, segment: ExpertSegment) -> None:
        """
        :param segment: An injected episode that reached the learner
        """
        self.segment_returns.append(float(segment.rewards.sum()))
        self.fork_steps.append(segment.fork_step)

    def record(self, logger: Logger) -> None:
        """
        :param logger: Receives ``feedback/*`` and ``injection/*``, each only where there is something to say
        """
        if self.records:
            logger.record("feedback/rate", self.records / max(self.steps, 1))
            logger.record("feedback/text_rate", self.texts / max(self.steps, 1))
        if self.scores:
            logger.record("feedback/score_mean", float(np.mean(self.scores)))
        for name in ("late", "skipped"):
            if getattr(self, name):
                logger.record(f"feedback/{name}", getattr(self, name))
        if self.segment_returns:
            logger.record("injection/segments", len(self.segment_returns))
            logger.record("injection/segment_return_mean", float(np.mean(self.segment_returns)))
            logger.record("injection/fork_step_mean", float(np.mean(self.fork_steps)))


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
        return -float(np.sqrt(np.mean((taken.astype(np.float64) - expert) ** 2)))
    return float(np.mean(np.all(taken == expert, axis=1)))
