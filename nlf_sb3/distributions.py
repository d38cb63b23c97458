"""What imitation asks of SB3's action distributions: divergence, rows, and a spread that stays fixed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import (
    Distribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
    sum_independent_dims,
)

from nlf_sb3.errors import FeedbackError


def kl_divergence(expert: Distribution, agent: Distribution) -> th.Tensor:
    """
    KL(expert || agent) for each row, summed over independent action dimensions.

    Distributions squashed by the same tanh are compared before it: the divergence is invariant
    under a shared bijection.

    :param expert: Distribution of B rows
    :param agent: Distribution of B rows, of the same family
    :return: ``[B]``
    :raises FeedbackError: If the two families can't be compared
    """
    pairs = list(zip(_parts(expert), _parts(agent), strict=False))
    same_family = all(type(p) is type(q) for p, q in pairs) and len(_parts(expert)) == len(_parts(agent))
    if not same_family or _is_squashed(expert) != _is_squashed(agent):
        raise FeedbackError(
            f"The analytic KL can't compare the expert's {type(expert).__name__} with the agent's {type(agent).__name__}. "
            'Use an expert of the agent\'s family, or imitation="nll", which needs only its actions.'
        )
    divergence = [sum_independent_dims(_batched(th.distributions.kl_divergence(p, q))) for p, q in pairs]
    return th.stack(divergence, dim=1).sum(dim=1)


def select_rows(
    distribution: Distribution, rows: np.ndarray | th.Tensor, device: th.device | str | None = None
) -> Distribution:
    """
    A copy of a batched distribution that holds only some of its rows.

    :param distribution: SB3 distribution of N rows
    :param rows: Indices, ``[B]``
    :param device: Where the copy lies; None for where the original does
    :return: SB3 distribution of B rows
    """
    rows = th.as_tensor(rows)
    selected = copy.copy(distribution)
    parts: list[Any] = []
    for part in _parts(distribution):
        if isinstance(part, th.distributions.Normal):
            parts.append(th.distributions.Normal(part.loc[rows].to(device), part.scale[rows].to(device), validate_args=False))
        else:
            parts.append(type(part)(logits=part.logits[rows].to(device), validate_args=False))
    selected.distribution = parts if isinstance(distribution.distribution, (list, tuple)) else parts[0]
    return selected


def log_prob_of_mode(distribution: Distribution, actions: th.Tensor) -> th.Tensor:
    """
    log pi(a | s) whose gradient leaves the standard deviation alone.

    The maximum likelihood of a point label shrinks a Gaussian's spread without end; for a label that
    is the mode of the expert's distribution only the mean should move.

    :param distribution: SB3 distribution of B rows
    :param actions: ``[B, *action_shape]``, in the policy's scale
    :return: ``[B]``
    """
    normal = distribution.distribution
    if not isinstance(normal, th.distributions.Normal):
        return distribution.log_prob(actions)
    frozen = copy.copy(distribution)
    frozen.distribution = th.distributions.Normal(normal.loc, normal.scale.detach(), validate_args=False)
    return frozen.log_prob(actions)


def log_relative_density(distribution: Distribution, log_prob: th.Tensor) -> th.Tensor:
    """
    log of the probability of actions relative to the likeliest one: 0 at the mode, negative elsewhere.

    Densities carry the action's units, so that a threshold on them has no meaning; their ratio to the
    density at the mode lies in (0, 1] for every family. It is the geometric mean over the action's
    dimensions, so that its own samples look as likely in 17 dimensions as in one.

    :param distribution: SB3 distribution of B rows
    :param log_prob: log-probability of the B actions
    :return: ``[B]``, at most 0
    """
    mode = distribution.mode()
    n_dimensions = mode.shape[1] if mode.dim() > 1 else 1
    return ((log_prob - distribution.log_prob(mode)) / n_dimensions).clamp(max=0.0)


def _parts(distribution: Distribution) -> list[Any]:
    inner = distribution.distribution
    return list(inner) if isinstance(inner, (list, tuple)) else [inner]


def _batched(divergence: th.Tensor) -> th.Tensor:
    # Categorical gives [B]; Normal and Bernoulli give [B, d], which sum_independent_dims reduces.
    return divergence.unsqueeze(1) if divergence.dim() == 1 else divergence


def _is_squashed(distribution: Distribution) -> bool:
    if isinstance(distribution, StateDependentNoiseDistribution):
        return distribution.bijector is not None
    return isinstance(distribution, SquashedDiagGaussianDistribution)
