"""The likelihood of labels under the commonest policies with its gradient in closed form: fewer operations than autograd's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution, Distribution

from nlf_sb3.distributions import MODE_SMOOTHING
from nlf_sb3.policies import SoftplusGaussianDistribution

Cotangents = list[tuple[th.Tensor, th.Tensor]]
"""A loss by its derivatives: tensors of the policy's graph, each with d(loss)/d(tensor), of the same shape."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def has_closed_form(distribution: Distribution) -> bool:
    """
    :param distribution: SB3 distribution
    :return: Whether :func:`negative_log_prob_gradients` knows it: a plain diagonal Gaussian or one categorical choice
    """
    return type(distribution) in (DiagGaussianDistribution, SoftplusGaussianDistribution, CategoricalDistribution)


def negative_log_prob_gradients(
    distribution: Distribution, actions: Any, weights: Any, trains_std: Any = True
) -> tuple[Any, Cotangents]:
    r"""
    :math:`-\log \pi(a_i | s_i)` of each row, and the derivatives of :math:`\sum_i -w_i \log \pi(a_i | s_i)`.

    With :math:`z = (a - \mu) / \sigma`, a Gaussian's are :math:`-w z / \sigma` by the mean and
    :math:`w (1 - z^2) / \sigma` by the standard deviation. A categorical's is :math:`-w` by the chosen
    log-probability, for modes smoothed as in :func:`~nlf_sb3.distributions.log_prob_of_mode`.

    Rows come as NumPy's arrays where the distribution is on the CPU (NumPy's operations start sooner than torch's), else as
    tensors of its device.

    :param distribution: One of B rows for which :func:`has_closed_form`
    :param actions: In the policy's scale, ``[B, action_dim]``, or ``[B]`` integers
    :param weights: w, ``[B]``
    :param trains_std: Whether a Gaussian's standard deviation gets its derivative, and a choice isn't smoothed: for all rows,
        or for each, ``[B]``
    :return: The divergences, ``[B]`` and of the rows' kind, and the derivatives
    """
    inner: Any = distribution.distribution
    if type(distribution) is CategoricalDistribution:
        divergences, by_logits = categorical_nll(_like(inner.logits, weights), actions, weights, trains_std)
        return divergences, [(inner.logits, th.as_tensor(by_logits))]
    mean, std = _like(inner.loc, weights), _like(inner.scale, weights)
    divergences, by_mean, by_std = gaussian_nll(mean, std, actions, weights, trains_std)
    cotangents = [(inner.loc, th.as_tensor(by_mean))]
    if by_std is not None:
        cotangents.append((inner.scale, th.as_tensor(by_std)))
    return divergences, cotangents


def gaussian_nll(mean: Any, std: Any, actions: Any, weights: Any, trains_std: Any = True) -> tuple[Any, Any, Any]:
    """
    :func:`negative_log_prob_gradients` of a diagonal Gaussian, on NumPy's or torch's arrays.

    :param mean: ``[B, action_dim]``
    :param std: ``[B, action_dim]``
    :param actions: ``[B, action_dim]``
    :param weights: ``[B]``
    :param trains_std: True, False, or a boolean for each row, ``[B]``
    :return: Divergences ``[B]``, derivatives by mean and by standard deviation ``[B, action_dim]``, the latter None for False
    """
    log = np.log if isinstance(std, np.ndarray) else th.log
    z = (actions - mean) / std
    squared = z * z
    divergences = (0.5 * squared + log(std) + _HALF_LOG_TWO_PI).sum(1)
    factor = weights[:, None] / -std
    by_mean = z * factor
    if trains_std is False:
        return divergences, by_mean, None
    if trains_std is not True:
        factor = factor * trains_std[:, None]
    return divergences, by_mean, (squared - 1.0) * factor


def categorical_nll(logits: Any, actions: Any, weights: Any, is_sharp: Any = True) -> tuple[Any, Any]:
    """
    :func:`negative_log_prob_gradients` of one categorical choice, on NumPy's or torch's arrays.

    :param logits: Log-probabilities, ``[B, n]``
    :param actions: ``[B]`` integers
    :param weights: ``[B]``
    :param is_sharp: True, False for smoothed labels, or a boolean for each row, ``[B]``
    :return: Divergences ``[B]``, and derivatives by the log-probabilities ``[B, n]``
    """
    is_numpy = isinstance(logits, np.ndarray)
    rows = np.arange(len(logits)) if is_numpy else th.arange(len(logits), device=logits.device)
    by_logits = np.zeros_like(logits) if is_numpy else th.zeros_like(logits)
    if is_sharp is True:
        by_logits[rows, actions] = -weights
        return -logits[rows, actions], by_logits
    smoothing = MODE_SMOOTHING if is_sharp is False else MODE_SMOOTHING * (1.0 - (1.0 * is_sharp))
    share = smoothing / logits.shape[1]
    by_logits += (-weights * share)[:, None]
    by_logits[rows, actions] -= weights * (1.0 - smoothing)
    return -((1.0 - smoothing) * logits[rows, actions] + share * logits.sum(1)), by_logits


def _like(tensor: th.Tensor, rows: Any) -> Any:
    """A tensor without its graph, as the kind of array that rows are."""
    return tensor.detach().numpy() if isinstance(rows, np.ndarray) else tensor.detach()
