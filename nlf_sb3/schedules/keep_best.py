"""Hold what imitation has reached: an agent that gets worse by itself goes back to its best policy, and on more slowly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import AdaptiveAlpha, TrainingState
from nlf_sb3.schedules.by_performance import latest
from nlf_sb3.schedules.trial import Trial, mean_of, standardised_difference
from nlf_sb3.schedules.use import alpha_of, as_schedule

_EARLY_EPISODES = 5
"""Episodes from the start of training that say where the agent began."""


@saved_as_plain_state
@dataclass
class KeepBest(AdaptiveAlpha):
    """
    Another schedule, and a policy to go back to once the agent is left to the policy gradient.

    Small rollouts and a large learning rate suit imitation, whose target stands still. The policy gradient's is noisy: with
    the same numbers it may take apart what imitation has built. Once alpha is 1, the algorithm keeps the policy whenever the
    mean return of the latest ``window`` episodes is the best so far. Where the mean falls below that by ``tolerance`` of what
    was gained since the start and by ``standard_errors`` (Welch's statistic), it puts the best policy and its optimiser back,
    and multiplies the learning rate by ``pace``.

    The best of many windows was lucky: after n losses 1 - (1 - ``tolerance``)^(n + 1) may be lost. An agent that hasn't
    imitated, or whose expert failed a :class:`~nlf_sb3.schedules.Trial`, is left alone, and so is one without a ``Monitor``,
    whose returns nobody knows. The kept policy isn't saved with the model: a loaded one has to find a new best.

    :param schedule: alpha
    :param window: Episodes in a mean
    :param tolerance: Share of what was gained that may be lost, the first time
    :param standard_errors: How clear a loss has to be
    :param pace: Factor of the learning rate after each loss
    """

    schedule: Any
    window: int = 20
    tolerance: float = 0.2
    standard_errors: float = 3.0
    pace: float = 0.3
    first: list[float] = field(default_factory=list, init=False)
    best: list[float] = field(default_factory=list, init=False)
    recent: list[float] = field(default_factory=list, init=False)
    n_losses: int = field(default=0, init=False)
    _is_best: bool = field(default=False, init=False)
    _is_lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        as_schedule(self.schedule)
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 3:
            raise ValueError(f"window: got {self.window!r}, expected a whole number of at least 3.")
        for name in ("tolerance", "standard_errors"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a number of at least 0.")
        if not 0 < self.pace <= 1:
            raise ValueError(f"pace: got {self.pace}, expected a number in (0, 1].")

    def alpha(self, state: TrainingState) -> float:
        self._is_best = self._is_lost = False
        alpha = alpha_of(as_schedule(self.schedule), state)
        self.first = [*self.first, *map(float, state.episode_returns)][:_EARLY_EPISODES]
        if state.n_imitated and not self._was_rejected():
            self.recent = latest(self.recent, state.episode_returns, self.window)
            if alpha == 1.0 and len(self.recent) == self.window:
                self._watch(has_news=len(state.episode_returns) > 0)
        return alpha

    def reset(self) -> None:
        self.first, self.best, self.recent = [], [], []
        self.n_losses, self._is_best, self._is_lost = 0, False, False
        if isinstance(self.schedule, AdaptiveAlpha):
            self.schedule.reset()

    @property
    def is_open(self) -> bool:
        return isinstance(self.schedule, AdaptiveAlpha) and self.schedule.is_open

    @property
    def failed(self) -> bool:
        return isinstance(self.schedule, AdaptiveAlpha) and self.schedule.failed

    @property
    def is_best(self) -> bool:
        return self._is_best

    @property
    def is_lost(self) -> bool:
        return self._is_lost

    @property
    def learning_rate_factor(self) -> float:
        return self.pace**self.n_losses

    def to_log(self) -> dict[str, float]:
        inner = self.schedule.to_log() if isinstance(self.schedule, AdaptiveAlpha) else {}
        return {**inner, "feedback/put_back": float(self.n_losses)}

    def _was_rejected(self) -> bool:
        return isinstance(self.schedule, Trial) and self.schedule.verdict != "passed"

    def _watch(self, has_news: bool) -> None:
        mean, best = mean_of(self.recent), mean_of(self.best)
        if not self.best or mean > best:
            self.best, self._is_best = list(self.recent), True
            return
        tolerated = 1.0 - (1.0 - self.tolerance) ** (self.n_losses + 1)
        is_large = best - mean > tolerated * (best - mean_of(self.first)) > 0
        if has_news and is_large and standardised_difference(self.recent, self.best) <= -self.standard_errors:
            self._is_lost, self.recent = True, []
            self.n_losses += 1
