"""REINFORCE that learns from feedback."""

from __future__ import annotations

import warnings
from typing import Any

from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.algorithms.base import FeedbackAlgorithm
from nlf_sb3.algorithms.plain_reinforce import PlainREINFORCE


class REINFORCE(FeedbackAlgorithm, PlainREINFORCE):
    """
    :class:`PlainREINFORCE` with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm` are keywords. Injected rows take returns for
    advantages, less the baseline where there is one.

    Takeovers and guides want ``baseline=True`` or ``normalize_returns=False``. A taken-over episode's last steps are the
    expert's, where less return is left, and a guided one's first, where more is: beside the mean of the agent's steps they
    look bad, or good, whatever they were.
    """

    _advantages_are_normalised = True  # when they are computed

    def _prepare_for_injection(self) -> None:
        super()._prepare_for_injection()
        if not self._expert_acts_here() or not self.normalize_returns or self.baseline:
            return
        if "takeover" in self._injection_modes():
            warnings.warn(
                "mode='takeover' with normalize_returns=True and no baseline: the expert's steps come late in an episode, "
                "where less return is left, and are compared with the mean of the agent's early ones. Good actions of the "
                "expert's may be unlearned. Pass baseline=True or normalize_returns=False.",
                stacklevel=2,
            )
        else:
            warnings.warn(
                "mode='guide' with normalize_returns=True and no baseline: the expert's steps come first in an episode, where "
                "another return is left than the mean of the agent's later ones, which they are compared with. They look good "
                "or bad, whatever they were. Pass baseline=True or normalize_returns=False.",
                stacklevel=2,
            )

    def _catch_up(self, step: dict[str, Any]) -> None:
        """The original has done so."""

    def _advantage_scale(self) -> AdvantageScale:
        return AdvantageScale(*self._statistics_of_returns, self.normalize_returns)

    def _uses_critic(self) -> bool:
        return self.baseline

    def _bootstraps_at_time_limit(self) -> bool:
        return self.time_limit == "bootstrap"

    def _loss_scale(self, n_rows: int) -> float:
        return float(n_rows) if self.loss_reduction == "sum" else 1.0

    def _end_advantages_at_takeovers(self) -> None:
        """Returns end there already, where there is a baseline."""
