"""Schedules of alpha by the number of updates."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.schedules.base import AdaptiveAlpha, TrainingState, check_alpha
from nlf_sb3.seeding import derived_generator


@saved_as_plain_state
@dataclass
class GeometricSchedule(AdaptiveAlpha):
    r"""
    Imitation weighs :math:`\lambda_0 \lambda_1^k` beside a policy gradient of weight 1 in update k: DAPG's decay (Rajeswaran
    et al., 2018, https://arxiv.org/abs/1709.10087), whose numbers are the defaults.

    Both weights are divided by their sum, so that they are alpha and 1 - alpha. DAPG also multiplies imitation by the
    rollout's largest advantage: :class:`~nlf_sb3.label_weights.LargestAdvantage`.

    >>> GeometricSchedule(1.0, 0.5).alpha(TrainingState(1.0, n_updates=1, episode_returns=()))
    0.6666666666666666

    :param initial: lambda_0, above 0
    :param factor: lambda_1, in (0, 1]
    """

    initial: float = 0.1
    factor: float = 0.95

    def __post_init__(self) -> None:
        if not self.initial > 0:
            raise ValueError(f"initial: got {self.initial}, expected a number above 0.")
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor: got {self.factor}, expected a number in (0, 1].")

    def alpha(self, state: TrainingState) -> float:
        return 1.0 / (1.0 + self.initial * self.factor**state.n_updates)


@saved_as_plain_state
@dataclass
class RandomSwitch(AdaptiveAlpha):
    r"""
    ``before`` for a random number of updates K, then ``after``: LOKI (Cheng et al., 2018, https://arxiv.org/abs/1805.10413).

    :math:`P(K = k) \propto k^d` on ``least`` to ``most``: the paper's d is 3, and its ``most`` about twice ``least``.

    :param least: Fewest updates of imitation
    :param most: Most
    :param power: d; 0 draws evenly
    :param before: alpha until then
    :param after: alpha from then on
    :param seed: Seed of the draw
    """

    least: int
    most: int
    power: float = 3.0
    before: float = 0.0
    after: float = 1.0
    seed: int = 0
    switch: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_alpha(self.before)
        check_alpha(self.after)
        if not 0 <= self.least <= self.most:
            raise ValueError(f"least, most: got {self.least}, {self.most}, expected 0 <= least <= most.")

    def alpha(self, state: TrainingState) -> float:
        if self.switch is None:
            updates = list(range(self.least, self.most + 1))
            shares = [float(max(k, 1)) ** self.power for k in updates]
            probabilities = [share / sum(shares) for share in shares]
            self.switch = int(derived_generator(self.seed, "switch").choice(updates, p=probabilities))
        return self.before if state.n_updates < self.switch else self.after

    def reset(self) -> None:
        self.switch = None
