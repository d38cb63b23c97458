"""A rollout's injected episodes as a term of its update, or as an update that follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch as th

from nlf_sb3.objectives.injected_rows import InjectionTerm, build_injected_rows
from nlf_sb3.objectives.row_weights import expert_weights_of, record_row_weights
from nlf_sb3.rows import TrajectoryRows

if TYPE_CHECKING:
    from nlf_sb3.adapters.base import Adapter


class InjectedUpdate:
    """
    Trains on the injected episodes of a rollout.

    :param adapter: Of the model's algorithm
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._model = adapter.model

    def rows(self) -> TrajectoryRows | None:
        """
        :return: All rows of the rollout's injected episodes; None without such episodes
        """
        model, adapter = self._model, self._adapter
        if model.injection.segments == "imitate":
            return None
        with_prefix = model.injection.count_prefix
        segments = [kept for kept in model.rollout_buffer.segments if with_prefix or kept[0].fork_step < len(kept[0])]
        if not segments:
            return None
        rows = build_injected_rows(
            model.policy,
            model.env,
            segments,
            make_rows=adapter.policy_rows,
            gamma=model.gamma,
            agents_advantages=adapter.advantage_scale(),
            use_critic=adapter.uses_value_net,
            bootstrap_at_time_limit=adapter.bootstraps_at_time_limit,
            bounded=model.injection.weighting == "bounded",
            weigh=expert_weights_of(model),
            with_prefix=with_prefix,
        )
        model.logger.record("injection/advantage_mean", rows.advantages.mean().item())
        record_row_weights(model, rows.weights)
        return rows

    def term(self, rows: TrajectoryRows, n_rows: int, rng: np.random.Generator) -> InjectionTerm:
        """
        :param rows: Rows of injected episodes
        :param n_rows: N, number of rows of the rollout
        :param rng: Shuffles the rows
        :return: Their term
        """
        injection, scale = self._model.injection, self._adapter.loss_scale
        return InjectionTerm(
            rows,
            self._adapter.policy_losses,
            n_rows=n_rows,
            coef=injection.coef if injection.weighting == "bounded" else None,
            # The term is scaled by N where losses are sums; this one is a sum over its own K rows.
            vf_coef=injection.vf_coef * scale(len(rows)) / scale(n_rows),
            rng=rng,
        )

    def separate_step(self, term: InjectionTerm, alpha: float, n_rows: int) -> None:
        """
        The paper's order: an optimiser step of the injected episodes, on the policy that the agent's update has left.

        :param term: Their term
        :param alpha: Weight of the policy gradient
        :param n_rows: N, number of rows of the rollout
        """
        policy, max_grad_norm = self._model.policy, self._model.max_grad_norm
        policy.set_training_mode(True)
        policy_loss, value_loss = term.loss_of_all()
        loss = self._adapter.loss_scale(n_rows) * (alpha * policy_loss + value_loss)
        policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if max_grad_norm is not None:
            th.nn.utils.clip_grad_norm_(policy.parameters(), max_grad_norm)
        policy.optimizer.step()
