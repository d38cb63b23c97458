"""TRPO: labels and injected rows are part of the batch that the natural gradient is computed from."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.adapters.base import Adapter, temporarily
from nlf_sb3.adapters.surrogate import SurrogateBatch, SurrogateRows
from nlf_sb3.distributions import log_prob_of_labels
from nlf_sb3.objectives.terms import RolloutTerms


class TrustRegionAdapter(Adapter):
    """TRPO of sb3-contrib, which tests one objective in a line search, on rows of actions."""

    imitates_get_distribution = True
    trains_tokens = False

    def check_settings(self) -> None:
        super().check_settings()
        model, injection = self.model, self.model.injection
        refused = {
            "imitation": (model.imitation, model.imitation.loss != "nll"),
            "injection.separate_step": (injection.separate_step, injection.separate_step),
            "injection.vf_coef": (injection.vf_coef, injection.vf_coef != 0.0),
            "log_gradients": (model.log_gradients, model.log_gradients),
            "auxiliary_losses": (model.auxiliary_losses, len(model.auxiliary_losses) > 0),
        }
        for name, (value, is_refused) in refused.items():
            if is_refused:
                raise ValueError(
                    f"{name}: got {value!r}, which TRPO can't use: its line search tests one objective on rows of actions. "
                    "Leave it at its default."
                )

    @contextlib.contextmanager
    def attached(self, terms: RolloutTerms) -> Iterator[None]:
        """
        While active, TRPO's ``train`` takes one joint batch of the agent's rows, labels and injected rows.

        :param terms: The terms
        """
        model, weights = self.model, terms.interventions
        is_settled = weights is not None and model.injection.weighting != "plain"  # advantages are normalised already
        batch = SurrogateBatch(
            model.policy,
            model.rollout_buffer,
            terms,
            keep_every=model.sub_sampling_factor,
            normalizes=model.normalize_advantage and not is_settled,
            injection_coef=model.injection.coef if model.injection.weighting == "bounded" else None,
            mode_trains_std=model.imitation.mode_trains_std,
        )
        left_out = None if weights is None else weights.executed
        with (
            self._joint_batch(batch, left_out),
            temporarily(model, normalize_advantage=False, sub_sampling_factor=1),  # the batch is made with both
            self._without_value_rows() if left_out is not None and left_out.all() else contextlib.nullcontext(),
        ):
            yield
        if batch.imitation_loss is not None:
            model.logger.record("train/imitation_loss", batch.imitation_loss)

    @contextlib.contextmanager
    def _without_value_rows(self) -> Iterator[None]:
        """The expert played the whole rollout: the value loss, a mean over no rows, is not logged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
        self.model.logger.name_to_value.pop("train/value_loss", None)

    @contextlib.contextmanager
    def _joint_batch(self, batch: SurrogateBatch, left_out: np.ndarray | None) -> Iterator[None]:
        """While active, the rollout comes out of its buffer as the joint batch, once. Later batches are the value loss's."""
        policy, buffer = self.model.policy, self.model.rollout_buffer
        get, get_distribution = buffer.get, policy.get_distribution
        taken: list[SurrogateRows] = []

        def get_joint(batch_size: int | None = None) -> Iterator[Any]:
            (samples,) = get(None)
            rows = batch.rows(samples)
            taken.append(rows)
            del buffer.get
            buffer.left_out = left_out
            yield samples._replace(
                observations=rows.observations,
                actions=rows.actions,
                old_log_prob=rows.old_log_prob,
                advantages=rows.weights * len(rows),  # the objective is their mean
            )

        buffer.get = get_joint
        policy.get_distribution = _for_rows(get_distribution, taken)
        try:
            yield
        finally:
            del policy.get_distribution
            was_taken = buffer.__dict__.pop("get", None) is None
        if not was_taken:
            raise RuntimeError(
                "train() took no batch from the rollout buffer, so that imitation and injection would be ignored. Is this "
                "version of sb3-contrib newer than the ones that nlf_sb3 was tested with?"
            )


def _for_rows(get_distribution: Callable[[Any], Distribution], taken: list[SurrogateRows]) -> Callable[[Any], Distribution]:
    """
    The policy's distributions of one batch. In them modes don't train the standard deviation, and the log-probabilities of an
    expert's actions end where their ratio is bounded.

    :param get_distribution: The policy's
    :param taken: Holds the batch, once it is made
    """

    def get(observations: Any) -> Distribution:
        distribution = copy.copy(get_distribution(observations))
        watched = copy.copy(distribution)
        (rows,) = taken

        def log_prob(actions: th.Tensor) -> th.Tensor:
            return rows.bounded(log_prob_of_labels(distribution, actions, rows.is_mode))

        watched.log_prob = log_prob  # type: ignore[method-assign]
        return watched

    return get
