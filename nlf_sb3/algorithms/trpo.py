"""TRPO that learns from feedback."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sb3_contrib
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.algorithms.base import FeedbackAlgorithm, Update
from nlf_sb3.algorithms.trust_region import SurrogateBatch, SurrogateRows
from nlf_sb3.distributions import log_prob_of_labels


class TRPO(FeedbackAlgorithm, sb3_contrib.TRPO):
    r"""
    sb3-contrib's TRPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm` are keywords.

    Labels and injected rows are part of the batch that the step is computed from. The objective that the line search has
    to improve is :math:`\frac{\alpha}{N} \sum_i A_i r_i + \frac{1-\alpha}{M} \sum_j w_j r_j`, with the ratios
    :math:`r = \pi(a|s) / \pi_{old}(a|s)` of the agent's and the expert's actions; its gradient at the old policy is
    the joint objective's. The trust region holds on the states of all these rows. The critic is trained on the agent's
    rows alone. N and M are counted after ``sub_sampling_factor``.

    ``imitation="kl"``, ``injection="separate"``, ``injection_vf_coef``, ``log_gradients`` and ``auxiliary_losses`` have no
    meaning here and are refused.
    """

    imitates_get_distribution = True
    trains_tokens = False

    def _check_settings(self) -> None:
        super()._check_settings()
        refused = {
            "imitation": self.imitation == "kl",
            "injection": self.injection == "separate",
            "injection_vf_coef": self.injection_vf_coef != 0.0,
            "log_gradients": self.log_gradients,
            "auxiliary_losses": len(self.auxiliary_losses) > 0,
        }
        for name in (name for name, is_refused in refused.items() if is_refused):
            raise ValueError(
                f"{name}: got {getattr(self, name)!r}, which TRPO can't use: its line search tests one objective on rows of "
                "actions. Leave it at its default."
            )

    def _update(self, update: Update) -> None:
        is_settled = update.weights is not None and self.injection != "plain"  # advantages are normalised already
        batch = SurrogateBatch(
            self.policy,
            self.rollout_buffer,
            update,
            keep_every=self.sub_sampling_factor,
            normalizes=self.normalize_advantage and not is_settled,
            injection_coef=self.injection_coef if self.injection == "bounded" else None,
            mode_trains_std=self.mode_trains_std,
        )
        critics_not = None if update.weights is None else update.weights.executed
        with (
            self._joint_batch(batch, critics_not),
            self._temporarily(normalize_advantage=False, sub_sampling_factor=1),  # the batch is made with both
        ):
            if critics_not is not None and critics_not.all():
                self._train_actor_alone()
            else:
                self._train_original()
        if batch.imitation_loss is not None:
            self.logger.record("train/imitation_loss", batch.imitation_loss)

    def _train_actor_alone(self) -> None:
        """The expert played the whole rollout: the critic has no rows, and its loss, a mean of nothing, is not logged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            self._train_original()
        self.logger.name_to_value.pop("train/value_loss", None)

    @contextlib.contextmanager
    def _joint_batch(self, batch: SurrogateBatch, critics_not: np.ndarray | None) -> Iterator[None]:
        """
        While active, the whole rollout comes out of its buffer as the joint batch, once; later batches are the critic's.
        """
        buffer, get, get_distribution = self.rollout_buffer, self.rollout_buffer.get, self.policy.get_distribution
        taken: list[SurrogateRows] = []

        def get_joint(batch_size: int | None = None) -> Iterator[Any]:
            (samples,) = get(None)
            rows = batch.rows(samples)
            taken.append(rows)
            del buffer.get
            buffer.left_out = critics_not
            yield samples._replace(
                observations=rows.observations,
                actions=rows.actions,
                old_log_prob=rows.old_log_prob,
                advantages=rows.weights * len(rows),  # the objective is their mean
            )

        buffer.get = get_joint
        as_rows_want = _as_rows_want(get_distribution, taken)
        self.policy.get_distribution = as_rows_want  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            del self.policy.get_distribution
            was_taken = buffer.__dict__.pop("get", None) is None
        if not was_taken:
            raise RuntimeError(
                "train() took no batch from the rollout buffer, so that imitation and injection would be ignored. Is this "
                "version of sb3-contrib newer than the ones that nlf_sb3 was tested with?"
            )


def _as_rows_want(
    get_distribution: Callable[[Any], Distribution], taken: list[SurrogateRows]
) -> Callable[[Any], Distribution]:
    """
    A policy's distributions of one batch, in which the log-probabilities of modes don't train the standard deviation, and
    those of an expert's actions end where their ratio is bounded.

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
