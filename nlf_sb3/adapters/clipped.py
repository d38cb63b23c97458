"""PPO's clipped objective."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch as th

from nlf_sb3.adapters.base import Adapter, temporarily
from nlf_sb3.losses import clipped_surrogate_loss
from nlf_sb3.objectives.expert_ratios import ExpertRatios
from nlf_sb3.objectives.interventions import InterventionWeights
from nlf_sb3.objectives.terms import RolloutTerms


class ClippedAdapter(Adapter):
    """An algorithm whose policy loss is PPO's."""

    def policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        clip_range = self.model.clip_range(self.model._current_progress_remaining)
        return clipped_surrogate_loss(log_prob, old_log_prob, advantages, clip_range)

    def expert_ratios(self, weights: InterventionWeights) -> ExpertRatios:
        assert weights.old_log_prob is not None
        return ExpertRatios(weights.executed, weights.old_log_prob, self.policy_losses)

    @contextlib.contextmanager
    def attached(self, terms: RolloutTerms) -> Iterator[None]:
        """
        As in the base. If an expert acted in some rows, ``target_kl`` and the logged means go by the agent's rows.

        SB3 takes means over all rows of a minibatch. The expert's rows count there as unchanged.

        :param terms: The terms
        """
        model, weights = self.model, terms.interventions
        if weights is None:
            with super().attached(terms):
                yield
            return
        share = float((~weights.executed[model.rollout_buffer.row_indices()]).mean())
        target_kl = None if model.target_kl is None else share * model.target_kl
        with temporarily(model, target_kl=target_kl), super().attached(terms):
            yield
        for name in ("train/approx_kl", "train/clip_fraction"):
            logged = model.logger.name_to_value[name]
            model.logger.record(name, logged / share if share else logged)


class SingleRowAdapter(ClippedAdapter):
    """
    PPO of sb3-contrib, which never gets a normalised minibatch of one row here.

    sb3-contrib's MaskablePPO and RecurrentPPO divide by such a minibatch's standard deviation. That is NaN, and so are their
    parameters afterwards. A last minibatch of one row joins the one before it: the one exception to training as the original.
    """

    def check_settings(self) -> None:
        super().check_settings()
        model = self.model
        if not model.normalize_advantage:
            return
        n_rows = model.n_steps * model.n_envs
        if n_rows == 1 or model.batch_size == 1:
            raise ValueError(
                f"got n_steps * n_envs = {n_rows} and batch_size = {model.batch_size}: advantages of one row can't be "
                "normalised. Use more, or normalize_advantage=False."
            )

    def prepare_buffer(self) -> None:
        self.model.rollout_buffer.joins_single_row = bool(self.model.normalize_advantage)
