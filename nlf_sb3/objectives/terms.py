"""The terms that the feedback of a rollout adds to an update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlf_sb3.objectives.auxiliary import AuxiliaryLoss
from nlf_sb3.objectives.imitation import ImitationTerm
from nlf_sb3.objectives.injected_rows import InjectionTerm
from nlf_sb3.objectives.interventions import InterventionWeights
from nlf_sb3.rows import TrajectoryRows


@dataclass
class RolloutTerms:
    """
    The terms of one update.

    :param n_rows: N, number of rows of the rollout
    :param alpha: Weight of the policy gradient; 1 without imitation
    :param imitation: The imitation term, whose weight is 1 - alpha; None without labels
    :param injected: Rows of injected episodes; None without such episodes
    :param injection: The term of these rows in the agent's update; None if they train in a step of their own
    :param interventions: Weights of the rollout's rows; None if the agent acted in all of them
    :param auxiliary: Auxiliary losses
    """

    n_rows: int
    alpha: float
    imitation: ImitationTerm | None
    injected: TrajectoryRows | None
    injection: InjectionTerm | None
    interventions: InterventionWeights | None
    auxiliary: Sequence[AuxiliaryLoss]

    def __bool__(self) -> bool:
        """Whether the update differs from the original's."""
        given = (self.imitation, self.injection, self.interventions)
        return bool(self.auxiliary) or any(term is not None for term in given)
