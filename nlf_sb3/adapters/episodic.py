"""REINFORCE: rollouts of whole episodes, with or without a baseline."""

from __future__ import annotations

import warnings
from typing import Any

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.objectives.advantages import AdvantageScale


class EpisodicAdapter(Adapter):
    """
    REINFORCE of this package.

    Interventions want ``baseline=True`` or ``normalize_returns=False``. The expert plays the end, or the beginning, of an
    episode, where less return is left, or more. Beside the mean of the agent's steps its steps would look bad, or good,
    whatever they were.
    """

    advantages_are_normalised = True  # when they are computed

    def warn_of_interventions(self, modes: set[str]) -> None:
        if not self.model.normalize_returns or self.model.baseline:
            return
        if "takeover" in modes:
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

    @property
    def uses_value_net(self) -> bool:
        return bool(self.model.baseline)

    @property
    def bootstraps_at_time_limit(self) -> bool:
        return bool(self.model.time_limit == "bootstrap")

    def loss_scale(self, n_rows: int) -> float:
        return float(n_rows) if self.model.loss_reduction == "sum" else 1.0

    def advantage_scale(self) -> AdvantageScale:
        mean, std = self.model.return_statistics
        return AdvantageScale(mean, std, self.model.normalize_returns)

    def end_advantages_at_interventions(self) -> None:
        """Returns end there already, where there is a baseline."""

    def catch_up(self, step: dict[str, Any]) -> None:
        """The original has done so."""
