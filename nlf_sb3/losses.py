"""The losses as pure functions on tensors: no SB3, no environment, no state."""

from __future__ import annotations

import math
from typing import Any

import torch as th

MAX_LOG_RATIO = 20.0
"""log of the largest probability ratio of an expert's action that a surrogate objective takes."""


def _check_rank_one(**tensors: th.Tensor) -> None:
    """Raise unless all are vectors of one length: broadcasting [B, 1] against [B] would build a [B, B] loss."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        raise ValueError(f"Expected vectors of one length [B], got {shapes}. Flatten them first.")


def leaving_factors(log_relative: th.Tensor) -> th.Tensor:
    r"""
    How strongly an action is left that is to become less likely: :math:`\min(1, \rho / (1 - \rho))` of its relative density.

    It is the slope of unlikelihood's :math:`-\log(1 - \rho)` (Welleck et al., 2020, https://arxiv.org/abs/1908.04319) by
    :math:`\log \rho`, bounded: an action that is unlikely already is pushed no further.

    :param log_relative: log of the density relative to the mode's, at most 0, ``[B]``
    :return: ``[B]``, in [0, 1]
    """
    _check_rank_one(log_relative=log_relative)
    relative = log_relative.exp()
    return (relative / (1.0 - relative).clamp(min=1e-6)).clamp(max=1.0)


def policy_gradient_loss(log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
    r"""
    :math:`-A_t \log \pi(a_t | s_t)` for each row (REINFORCE; Williams, 1992).

    :param log_prob: log-probability of the actions taken, ``[B]``
    :param advantages: returns or advantages, no gradient, ``[B]``
    :return: ``[B]``
    """
    _check_rank_one(log_prob=log_prob, advantages=advantages)
    return -advantages * log_prob


def clipped_surrogate_loss(
    log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor, clip_range: float
) -> th.Tensor:
    r"""
    :math:`-\min(r_t A_t, \mathrm{clip}(r_t, 1-\epsilon, 1+\epsilon) A_t)` for each row, with
    :math:`r_t = \pi(a_t|s_t) / \pi_{old}(a_t|s_t)` (PPO; Schulman et al., 2017, eq. 7,
    https://arxiv.org/abs/1707.06347).

    The ratio ends at :data:`MAX_LOG_RATIO`: an expert's action that a narrow policy could not take becomes likelier by more
    than a float holds, and infinity times the clip's gradient of zero is NaN.

    :param log_prob: log-probability under the policy in training, ``[B]``
    :param old_log_prob: log-probability under the policy that collected the rollout, ``[B]``
    :param advantages: ``[B]``
    :param clip_range: epsilon
    :return: ``[B]``
    """
    _check_rank_one(log_prob=log_prob, old_log_prob=old_log_prob, advantages=advantages)
    ratio = th.exp((log_prob - old_log_prob).clamp(max=MAX_LOG_RATIO))
    clipped = th.clamp(ratio, 1 - clip_range, 1 + clip_range)
    return -th.min(ratio * advantages, clipped * advantages)


def minibatch_imitation_loss(
    divergences: th.Tensor, weights: th.Tensor, n_rows: int, n_batch_rows: int, n_labelled: int
) -> th.Tensor:
    r"""
    The imitation loss of a rollout, :math:`L_{IL} = \frac{1}{M} \sum_i w_i d_i`, as one minibatch
    estimates it without bias: :math:`\frac{N}{B M} \sum_{i \in batch} w_i d_i`.

    Learners take its derivatives alone, by :func:`imitation_row_weights`.

    :math:`d_i` is :math:`-\log \pi(a_{E,i} | s_i)` or :math:`KL(\pi_E \| \pi)` at labelled row i.

    :param divergences: d of the labelled rows in the minibatch, ``[m]``
    :param weights: w of the same rows, ``[m]``
    :param n_rows: N, rows in the rollout
    :param n_batch_rows: B, rows in the minibatch, labelled or not
    :param n_labelled: M, labelled rows in the rollout, demonstrations included
    :return: scalar
    """
    _check_rank_one(divergences=divergences, weights=weights)
    row_weights: th.Tensor = imitation_row_weights(weights, n_rows, n_batch_rows, n_labelled)
    return (row_weights * divergences).sum()


def imitation_row_weights(weights: Any, n_rows: int, n_batch_rows: int, n_labelled: int) -> Any:
    r"""
    The derivative of :func:`minibatch_imitation_loss` by its divergences: :math:`w_i N / (B M)`.

    :param weights: w, ``[m]``, a tensor or an array
    :param n_rows: N, rows in the rollout
    :param n_batch_rows: B, rows in the minibatch, labelled or not
    :param n_labelled: M, labelled rows in the rollout, demonstrations included
    :return: ``[m]``
    """
    return weights * (n_rows / (n_batch_rows * n_labelled))


def policy_shaping_weight(log_relative_density: th.Tensor, offset: float = 0.1) -> th.Tensor:
    r"""
    :math:`p / (p + c)`: near 1 for likely actions, vanishing for those that the policy can't take.

    After LUFFY's shaping :math:`f(x) = x/(x + 0.1)` of token probabilities (Yan et al., 2025,
    https://arxiv.org/abs/2504.14945), used here as a weight and on densities relative to the mode.

    :param log_relative_density: log p, at most 0, ``[B]``
    :param offset: c
    :return: ``[B]``, in (0, 1 / (1 + c)]
    """
    return th.sigmoid(log_relative_density - th.log(th.tensor(offset)))


def truncated_importance_weight(log_prob: th.Tensor, expert_log_prob: th.Tensor, bound: float = 1.0) -> th.Tensor:
    r"""
    :math:`\min(c, \pi(a|s) / \pi_E(a|s))`: what a row that the expert drew counts for the policy.

    The truncated importance weight of V-trace (Espeholt et al., 2018, section 4.1, https://arxiv.org/abs/1802.01561);
    with c = 1 it is Retrace's trace coefficient at :math:`\lambda = 1` (Munos et al., 2016,
    https://arxiv.org/abs/1606.02647). The ratio is that of whole actions, over all their dimensions.

    :param log_prob: log pi(a | s) under the policy that collected the rollout, ``[B]``
    :param expert_log_prob: log pi_E(a | s), a density in the same units, ``[B]``
    :param bound: c, positive
    :return: ``[B]``, in (0, c]
    """
    _check_rank_one(log_prob=log_prob, expert_log_prob=expert_log_prob)
    return th.exp((log_prob - expert_log_prob).clamp(max=math.log(bound)))
