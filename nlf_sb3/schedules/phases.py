"""Phases of a training: other sizes of rollouts and minibatches, and another learning rate, once imitation is over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.whole_numbers import check_whole_number


@saved_as_plain_state
@dataclass(frozen=True)
class TrainingPhases:
    """
    The phase of a training that follows imitation: the sizes and the learning rate that hold in it.

    Labels teach well in rollouts of a few dozen steps and with a large learning rate. The policy gradient needs longer
    rollouts and a smaller learning rate. Without them it unlearns what was imitated.

    The phase begins after a share of the training, once alpha is 1. It needs a model that has imitated and that a
    :class:`~nlf_sb3.schedules.Trial` didn't restore. For other models ``otherwise`` holds.

    >>> phases = TrainingPhases(n_steps=1024, batch_size=64, begin=0.25)
    >>> phases.holds(progress_remaining=0.8, alpha=1.0), phases.holds(0.75, alpha=1.0), phases.holds(0.75, alpha=0.9)
    (False, True, False)

    :param n_steps: Steps of a rollout in each environment. It replaces the algorithm's ``n_steps``.
    :param batch_size: Rows of a minibatch. It replaces the algorithm's ``batch_size``, if it has one.
    :param begin: Share of training after which the phase begins, more than 0 and less than 1
    :param least_rollouts: Rollouts that the rest of training must have room for. Without room ``otherwise`` holds, since a
        short training does better with many short rollouts.
    :param learning_rate: Learning rate at ``begin``; it falls to 0 in a line. None for the algorithm's own
    :param otherwise: The phase for a model that imitated nothing or was restored, and where there is no room for
        ``least_rollouts``. None for the algorithm's own numbers
    """

    n_steps: int = 1024
    batch_size: int = 64
    begin: float = 0.25
    least_rollouts: int = 16
    learning_rate: float | None = None
    otherwise: TrainingPhases | None = None

    def __post_init__(self) -> None:
        check_whole_number("TrainingPhases.n_steps", self.n_steps, 2)
        check_whole_number("TrainingPhases.batch_size", self.batch_size, 2)
        check_whole_number("TrainingPhases.least_rollouts", self.least_rollouts, 1)
        if not 0 < self.begin < 1:
            raise ValueError(f"TrainingPhases.begin: got {self.begin}, expected a number between 0 and 1, such as 0.25.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"TrainingPhases.learning_rate: got {self.learning_rate}, expected a number above 0, or None.")
        if not isinstance(self.otherwise, TrainingPhases | None):
            raise ValueError(f"TrainingPhases.otherwise: got {self.otherwise!r}, expected None or another TrainingPhases.")

    @property
    def least_timesteps(self) -> int:
        """Steps in each environment that the rest of training must have for the phase to begin."""
        return self.least_rollouts * self.n_steps

    def holds(self, progress_remaining: float, alpha: float) -> bool:
        """
        :param progress_remaining: As in SB3, from 1 to 0
        :param alpha: Weight of the policy gradient; at 1 nothing is imitated
        :return: Whether the phase holds now
        """
        return 1.0 - progress_remaining >= self.begin and alpha == 1.0

    def rate(self, progress_remaining: float) -> float:
        """
        :param progress_remaining: As in SB3, from 1 to 0
        :return: The learning rate
        """
        assert self.learning_rate is not None
        return self.learning_rate * progress_remaining / (1.0 - self.begin)
