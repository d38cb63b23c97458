"""Weights of an expert's rows, against the mismatch between the expert that drew them and the policy that learns."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch as th

from nlf_sb3.config import MAX_IMPORTANCE_WEIGHT
from nlf_sb3.errors import FeedbackError
from nlf_sb3.losses import policy_shaping_weight, truncated_importance_weight
from nlf_sb3.objectives.advantages import shaping_weights

WeightKind = Literal["none", "importance", "shaping", "shaping_negative"]


class ExpertWeights(NamedTuple):
    """
    Weights of the rows in which the expert chose the action. The agent's rows have the weight 1.

    :param kind: ``"none"``: 1. ``"importance"``: min(c, pi / pi_E)
        (:func:`~nlf_sb3.losses.truncated_importance_weight`). ``"shaping"``: p / (p + 0.1), p the density relative to the
        mode's and per action dimension (:func:`~nlf_sb3.losses.policy_shaping_weight`). ``"shaping_negative"``: the same
        where the advantage is negative, 1 elsewhere (:func:`~nlf_sb3.objectives.advantages.shaping_weights`)
    :param bound: c
    """

    kind: WeightKind
    bound: float = MAX_IMPORTANCE_WEIGHT

    @property
    def needs_expert(self) -> bool:
        """Whether the expert's own log-probabilities are needed."""
        return self.kind == "importance"

    @property
    def needs_mode(self) -> bool:
        """Whether densities relative to the policy's mode are needed."""
        return self.kind in ("shaping", "shaping_negative")

    def __call__(
        self,
        advantages: th.Tensor,
        is_expert: th.Tensor,
        *,
        log_prob: th.Tensor,
        expert_log_prob: th.Tensor | None = None,
        log_relative: th.Tensor | None = None,
    ) -> th.Tensor:
        """
        :param advantages: As the policy loss takes them, ``[K]``
        :param is_expert: Whether the expert chose the action, ``[K]``
        :param log_prob: log pi_old(a | s), ``[K]``
        :param expert_log_prob: log pi_E(a | s) in the policy's scale, ``[K]``, anything in the agent's rows; for
            ``needs_expert``
        :param log_relative: log-density relative to the mode
            (:func:`~nlf_sb3.distributions.log_relative_density`), ``[K]``; for ``needs_mode``
        :return: ``[K]``
        """
        ones = th.ones_like(advantages)
        if self.kind == "none":
            return ones
        if self.kind == "importance":
            assert expert_log_prob is not None
            return th.where(is_expert, truncated_importance_weight(log_prob, expert_log_prob, self.bound), ones)
        assert log_relative is not None
        if self.kind == "shaping":
            return th.where(is_expert, policy_shaping_weight(log_relative), ones)
        return shaping_weights(advantages, log_relative, is_expert)


def expert_weights(kind: str, bound: float, *, is_bounded: bool) -> ExpertWeights:
    """
    :param kind: The ``row_weight`` of an :class:`~nlf_sb3.Injection`
    :param bound: c of ``"importance"``
    :param is_bounded: Whether its weighting is ``"bounded"``. ``"auto"`` then means ``"shaping_negative"``, and ``"none"``
        otherwise.
    :return: The weights
    """
    chosen: Any = ("shaping_negative" if is_bounded else "none") if kind == "auto" else kind
    return ExpertWeights(chosen, bound)


def expert_weights_of(model: Any) -> ExpertWeights:
    """
    :param model: The algorithm's model
    :return: The weights of an expert's rows by its ``injection``
    """
    injection = model.injection
    return expert_weights(injection.row_weight, injection.max_row_weight, is_bounded=injection.weighting == "bounded")


def record_row_weights(model: Any, weights: th.Tensor) -> None:
    """
    Log the mean weight of an expert's rows, if a rule for it was chosen: unlikely actions may count next to nothing.

    :param model: The algorithm's model
    :param weights: ``[K]``
    """
    if model.injection.row_weight not in ("auto", "none"):
        model.logger.record("injection/weight_mean", weights.mean().item())


def check_expert_log_probs(log_probs: Any, n_rows: int, what: str) -> None:
    """
    :param log_probs: log pi_E of an expert's actions, which should be ``[n_rows]``
    :param n_rows: Number of its actions
    :param what: Their source, for the message
    :raises FeedbackError: If there are none, or they aren't finite
    """
    if log_probs is None:
        raise FeedbackError(
            f"{what}: injection.row_weight='importance' divides by the expert's own probability of its actions, and the "
            "expert gave none. Use an expert that has a distribution and samples (PolicyExpert with deterministic=False), or "
            "row_weight='shaping', which needs only the policy's."
        )
    values = np.asarray(log_probs)
    if values.shape != (n_rows,) or not np.isfinite(values).all():
        raise FeedbackError(f"{what}: got log-probabilities {values}, expected {n_rows} finite numbers.")
