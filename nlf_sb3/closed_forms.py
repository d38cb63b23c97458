"""The likelihood of labels under the commonest policies with its gradient in closed form: fewer operations than autograd's."""

from __future__ import annotations

import math
from typing import Any

import torch as th
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution, Distribution

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
    distribution: Distribution, actions: th.Tensor, weights: th.Tensor, trains_std: bool | th.Tensor = True
) -> tuple[th.Tensor, Cotangents]:
    r"""
    :math:`-\log \pi(a_i | s_i)` of each row, and the derivatives of :math:`\sum_i -w_i \log \pi(a_i | s_i)`.

    With :math:`z = (a - \mu) / \sigma`, a Gaussian's are :math:`-w z / \sigma` by the mean and
    :math:`w (1 - z^2) / \sigma` by the standard deviation. A categorical's is :math:`-w` by the chosen
    log-probability.

    :param distribution: One of B rows for which :func:`has_closed_form`
    :param actions: In the policy's scale, ``[B, action_dim]``, or ``[B]`` integers
    :param weights: w, ``[B]``
    :param trains_std: Whether a Gaussian's standard deviation gets its derivative: for all rows, or for each, ``[B]``
    :return: ``[B]``, without a graph, and the derivatives
    """
    inner: Any = distribution.distribution
    if isinstance(distribution, CategoricalDistribution):
        chosen = inner.logits.gather(1, actions.unsqueeze(1)).squeeze(1)
        return -chosen.detach(), [(chosen, -weights)]
    with th.no_grad():
        z = (actions - inner.loc) / inner.scale
        squared = z * z
        divergences = (0.5 * squared + inner.scale.log()).sum(dim=1) + actions.shape[1] * _HALF_LOG_TWO_PI
        factor = weights.unsqueeze(1) / -inner.scale
        cotangents = [(inner.loc, z * factor)]
        if trains_std is not False:
            if trains_std is not True:
                factor = factor * trains_std.unsqueeze(1)
            cotangents.append((inner.scale, (squared - 1.0) * factor))
    return divergences, cotangents
