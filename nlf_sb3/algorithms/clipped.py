"""PPO's clipped objective for injected rows, shared by the algorithms that have it."""

from __future__ import annotations

from typing import Any

import torch as th

from nlf_sb3.algorithms.base import FeedbackAlgorithm, Update
from nlf_sb3.algorithms.expert_ratios import ExpertRatios
from nlf_sb3.algorithms.injection import InjectionTerm
from nlf_sb3.algorithms.takeover import TakeoverWeights
from nlf_sb3.losses import clipped_surrogate_loss


class ClippedObjective(FeedbackAlgorithm):
    """A :class:`FeedbackAlgorithm` whose policy loss is PPO's."""

    clip_range: Any
    target_kl: float | None

    def _policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        clip_range = self.clip_range(self._current_progress_remaining)
        return clipped_surrogate_loss(log_prob, old_log_prob, advantages, clip_range)

    def _expert_ratios(self, weights: TakeoverWeights) -> ExpertRatios:
        assert weights.old_log_prob is not None
        return ExpertRatios(weights.executed, weights.old_log_prob, self._policy_losses)

    def _train_with(self, update: Update, attached: InjectionTerm | None) -> None:
        """
        As ever; where an expert acted in some rows, ``target_kl`` and what is logged go by the agent's own.

        The original takes means over all rows of a minibatch, in which an expert's count as unchanged.
        """
        if update.weights is None:
            super()._train_with(update, attached)
            return
        share = float((~update.weights.executed[self.rollout_buffer.row_indices()]).mean())
        with self._temporarily(target_kl=None if self.target_kl is None else share * self.target_kl):
            super()._train_with(update, attached)
        for name in ("train/approx_kl", "train/clip_fraction"):
            logged = self.logger.name_to_value[name]
            self.logger.record(name, logged / share if share else logged)


class JoinsSingleRow(ClippedObjective):
    """
    A :class:`ClippedObjective` that never trains on a normalised minibatch of one row.

    sb3-contrib's MaskablePPO and RecurrentPPO divide by such a minibatch's standard deviation, which is NaN, and so are
    their parameters afterwards. A last minibatch of one row joins the one before it here: the one exception to
    training exactly as the original does.
    """

    normalize_advantage: bool
    batch_size: int | None
    n_steps: int

    def _setup_model(self) -> None:
        super()._setup_model()
        if not self.normalize_advantage:
            return
        n_rows = self.n_steps * self.n_envs
        if n_rows == 1 or self.batch_size == 1:
            raise ValueError(
                f"got n_steps * n_envs = {n_rows} and batch_size = {self.batch_size}: advantages of one row can't be "
                "normalised. Use more, or normalize_advantage=False."
            )
        self.rollout_buffer.joins_single_row = True
