"""Rollouts that become longer when learning from labels is over."""

from __future__ import annotations

from dataclasses import dataclass

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.whole_numbers import check_whole_number


@saved_as_plain_state
@dataclass(frozen=True)
class LongerRollouts:
    """
    What a rollout and a minibatch hold from a share of training on, wherever alpha is 1.

    Labels teach in rollouts of a few dozen steps, and the sooner the better; the policy gradient needs more of them for
    advantages that it can trust, and takes apart what was imitated where it hasn't.

    >>> longer = LongerRollouts(n_steps=1024, batch_size=32, begin=0.25)
    >>> longer.holds(progress_remaining=0.8, alpha=1.0), longer.holds(0.75, alpha=1.0), longer.holds(0.75, alpha=0.9)
    (False, True, False)

    :param n_steps: Steps of a rollout in each environment, in the place of the algorithm's ``n_steps``
    :param batch_size: Rows of a minibatch, in the place of the algorithm's ``batch_size`` if it has one
    :param begin: Share of training that is over when the first such rollout begins, more than 0 and less than 1
    """

    n_steps: int = 1024
    batch_size: int = 32
    begin: float = 0.25

    def __post_init__(self) -> None:
        check_whole_number("n_steps", self.n_steps, 2)
        check_whole_number("batch_size", self.batch_size, 2)
        if not 0 < self.begin < 1:
            raise ValueError(f"begin: got {self.begin}, expected a number between 0 and 1.")

    def holds(self, progress_remaining: float, alpha: float) -> bool:
        """
        :param progress_remaining: As in SB3, from 1 to 0
        :param alpha: Weight of the policy gradient; at 1 nothing is imitated
        :return: Whether rollouts are the longer ones now
        """
        return 1.0 - progress_remaining >= self.begin and alpha == 1.0
