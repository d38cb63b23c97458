"""A schedule of alpha by how well the agent does, compared with its expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import AdaptiveAlpha, TrainingState, check_alpha


@saved_as_plain_state
@dataclass
class PerformanceSchedule(AdaptiveAlpha):
    """
    alpha moves from ``start`` to ``end`` as the agent's mean return approaches the expert's.

    It begins to move at ``begin_at`` times the expert's return, and arrives at ``end_at`` times it. It never moves back, so
    that one bad rollout changes nothing. Returns are measured from ``worst_return``, since shares of a negative return have no
    meaning. Without a ``Monitor`` the agent has no returns, and alpha stays at ``start``.

    >>> schedule = PerformanceSchedule(expert_return=100.0, start=0.0, begin_at=0.5)
    >>> schedule.alpha(TrainingState(1.0, 0, (75.0, 75.0)))
    0.5

    :param expert_return: The expert's mean undiscounted return
    :param start: alpha at first
    :param end: alpha once the agent is as good
    :param begin_at: Share of the expert's return where alpha begins to move
    :param end_at: Share where it arrives; above 1 for an expert whose own return is to be passed first
    :param worst_return: Return that counts as 0
    :param window: Episodes in the mean
    """

    expert_return: float
    start: float = 0.1
    end: float = 1.0
    begin_at: float = 0.5
    end_at: float = 1.0
    worst_return: float = 0.0
    window: int = 20
    returns: list[float] = field(default_factory=list, init=False)
    done: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        check_alpha(self.start)
        check_alpha(self.end)
        if not self.expert_return > self.worst_return:
            raise ValueError(
                f"expert_return: got {self.expert_return}, expected more than worst_return, {self.worst_return}. Where "
                "returns are negative, give the worst that an episode can have."
            )
        if not 0 <= self.begin_at < self.end_at:
            raise ValueError(f"begin_at, end_at: got {self.begin_at}, {self.end_at}, expected 0 <= begin_at < end_at.")

    def alpha(self, state: TrainingState) -> float:
        self.returns = latest(self.returns, state.episode_returns, self.window)
        if self.returns:
            mean = sum(self.returns) / len(self.returns)
            share = (mean - self.worst_return) / (self.expert_return - self.worst_return)
            done = (share - self.begin_at) / (self.end_at - self.begin_at)
            self.done = max(self.done, min(done, 1.0))
        return self.start + self.done * (self.end - self.start)

    def reset(self) -> None:
        self.returns, self.done = [], 0.0


def latest(returns: list[float], new: Sequence[float], window: int) -> list[float]:
    """
    :param returns: So far
    :param new: Those of this rollout
    :param window: How many are kept
    :return: The latest of all
    """
    return [*returns, *map(float, new)][-window:]
