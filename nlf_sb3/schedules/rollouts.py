"""Rollouts that become longer when learning from labels is over."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.whole_numbers import check_whole_number


@saved_as_plain_state
@dataclass(frozen=True)
class LongerRollouts:
    """
    What rollouts, minibatches and the learning rate are once imitation is over, from a share of training on.

    Labels teach in rollouts of a few dozen steps and with large steps; the policy gradient needs more of the first and smaller
    of the second, and takes apart what was imitated where it hasn't. They hold wherever alpha is 1, in a model that has
    imitated and wasn't put back to before (:class:`~nlf_sb3.schedules.Trial`); in others ``otherwise`` does.

    >>> longer = LongerRollouts(n_steps=1024, batch_size=64, begin=0.25)
    >>> longer.holds(progress_remaining=0.8, alpha=1.0), longer.holds(0.75, alpha=1.0), longer.holds(0.75, alpha=0.9)
    (False, True, False)

    :param n_steps: Steps of a rollout in each environment, in the place of the algorithm's ``n_steps``
    :param batch_size: Rows of a minibatch, in the place of the algorithm's ``batch_size`` if it has one
    :param begin: Share of training that is over when the first such rollout begins, more than 0 and less than 1
    :param least_rollouts: How many of them the rest of training must have room for, or ``otherwise`` holds: a short training
        is better off with many short ones
    :param learning_rate: At ``begin``, from where it falls to nothing in a line; None for the algorithm's own
    :param otherwise: What holds where these don't: in a model that imitated nothing or was put back, or without room for
        ``least_rollouts``. None for the algorithm's own numbers
    """

    n_steps: int = 1024
    batch_size: int = 64
    begin: float = 0.25
    least_rollouts: int = 16
    learning_rate: float | None = None
    otherwise: LongerRollouts | None = None

    def __post_init__(self) -> None:
        check_whole_number("n_steps", self.n_steps, 2)
        check_whole_number("batch_size", self.batch_size, 2)
        check_whole_number("least_rollouts", self.least_rollouts, 1)
        if not 0 < self.begin < 1:
            raise ValueError(f"begin: got {self.begin}, expected a number between 0 and 1.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: got {self.learning_rate}, expected a number above 0, or None.")
        if not isinstance(self.otherwise, LongerRollouts | None):
            raise ValueError(f"otherwise: got {self.otherwise!r}, expected None or another LongerRollouts.")

    @property
    def least_timesteps(self) -> int:
        """Steps in each environment that the rest of training must have, or these rollouts don't begin."""
        return self.least_rollouts * self.n_steps

    def holds(self, progress_remaining: float, alpha: float) -> bool:
        """
        :param progress_remaining: As in SB3, from 1 to 0
        :param alpha: Weight of the policy gradient; at 1 nothing is imitated
        :return: Whether rollouts are the longer ones now
        """
        return 1.0 - progress_remaining >= self.begin and alpha == 1.0

    def rate(self, progress_remaining: float) -> float:
        """
        :param progress_remaining: As in SB3, from 1 to 0
        :return: The learning rate
        """
        assert self.learning_rate is not None
        return self.learning_rate * progress_remaining / (1.0 - self.begin)
