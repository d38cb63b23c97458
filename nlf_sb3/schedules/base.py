"""What a schedule of alpha is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple


class TrainingState(NamedTuple):
    """
    Where training stands when a rollout is about to train the agent.

    :param progress_remaining: 1 at the start, 0 at the end, as in SB3
    :param n_updates: k, rollouts that have trained the agent before this one
    :param episode_returns: Undiscounted returns of the agent's episodes that ended in this rollout, as ``Monitor`` has them;
        those in which an expert acted are left out
    :param n_imitated: Rollouts before this one in which the agent imitated
    """

    progress_remaining: float
    n_updates: int
    episode_returns: tuple[float, ...]
    n_imitated: int = 0


class AdaptiveAlpha(ABC):
    """
    A schedule that goes by more than progress, and may keep a state of its own: one object for each model.

    Subclasses are dataclasses; their fields are their state.
    """

    @abstractmethod
    def alpha(self, state: TrainingState) -> float:
        """
        Asked once for each rollout, before it trains the agent.

        :param state: Where training stands
        :return: alpha, in [0, 1]
        """

    def reset(self) -> None:  # noqa: B027  # most have nothing to forget
        """Begin anew: a training starts."""

    def to_log(self) -> dict[str, float]:
        """What the logger shows of it beside alpha, by key."""
        return {}

    @property
    def is_open(self) -> bool:
        """Whether :attr:`failed` may still come true, so that today's policy is worth keeping."""
        return False

    @property
    def failed(self) -> bool:
        """Whether the last answer says that imitation did harm, so that the policy from before it is to be put back."""
        return False


AlphaSchedule = Callable[[float], float] | AdaptiveAlpha
"""Maps the progress remaining (1 at the start, 0 at the end, as in SB3) to alpha; or goes by more than that."""


def check_alpha(alpha: Any) -> float:
    """
    :param alpha: What should be alpha
    :return: alpha as a float
    :raises ValueError: Unless it is a number in [0, 1]
    """
    try:
        value = float(alpha)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(alpha, (bool, str)) or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"alpha: got {alpha!r}, expected a number in [0, 1] (1 is pure policy gradient, 0 pure imitation) "
            "or a schedule that returns one."
        )
    return value
