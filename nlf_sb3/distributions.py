"""What imitation asks of SB3's action distributions: divergence, rows, and a spread that stays fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import (
    Distribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
    sum_independent_dims,
)

from nlf_sb3.distribution_parts import (
    FAMILIES,
    OwnDistribution,
    has_known_density,
    part_of_rows,
    parts_of,
    parts_or_none,
    unknown_parts,
    with_parts,
    with_spread_fixed,
)
from nlf_sb3.errors import FeedbackError

MODE_SMOOTHING = 0.2
"""Share of a mode's label that all choices have in common."""
MASKED_LOG_PROB = -1e7
"""log-probabilities below this are those of choices that a mask forbids."""


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
    if not has_known_density(expert):
        raise unknown_parts(expert)
    pairs = list(zip(parts_of(expert), parts_of(agent), strict=False))
    same_family = all(_family(p) is _family(q) for p, q in pairs) and len(parts_of(expert)) == len(parts_of(agent))
    if not same_family or _is_squashed(expert) != _is_squashed(agent):
        raise FeedbackError(
            f"The analytic KL can't compare the expert's {type(expert).__name__} with the agent's {type(agent).__name__}. "
            'Use an expert of the agent\'s family, or imitation="nll", which needs only its actions.'
        )
    divergence = [sum_independent_dims(_batched(th.distributions.kl_divergence(p, q))) for p, q in pairs]
    return th.stack(divergence, dim=1).sum(dim=1)


def select_rows(distribution: Any, rows: np.ndarray | th.Tensor, device: th.device | str | None = None) -> Any:
    """
    A copy of a batched distribution that holds only some of its rows.

    :param distribution: SB3 distribution of N rows
    :param rows: Indices, ``[B]``
    :param device: Where the copy lies; None for where the original does
    :return: SB3 distribution of B rows
    """
    rows = th.as_tensor(rows)
    if isinstance(distribution, OwnDistribution):
        return distribution.take(rows)
    return with_parts(distribution, [part_of_rows(part, rows, device) for part in parts_of(distribution)])


def log_prob_of_mode(distribution: Any, actions: th.Tensor) -> th.Tensor:
    r"""
    log pi(a | s) whose gradient leaves the standard deviation alone.

    The maximum likelihood of a point label shrinks a Gaussian's spread without end; for a label that
    is the mode of the expert's distribution only the mean should move. Choices have no spread of their own: there the label is
    smoothed (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567), :math:`(1 - \epsilon) \log \pi(a) + \epsilon`
    times the mean of :math:`\log \pi` over the allowed choices, which is largest where the likeliest one still leaves
    :data:`MODE_SMOOTHING` to all of them.

    :param distribution: SB3 distribution of B rows
    :param actions: ``[B, *action_shape]``, in the policy's scale
    :return: ``[B]``; for choices the smoothed one
    """
    if isinstance(distribution, OwnDistribution):
        return _smoothed_log_prob(distribution.with_fixed_spread(), actions)
    if not isinstance(getattr(distribution, "distribution", None), th.distributions.Normal):
        return _smoothed_log_prob(distribution, actions)
    of_mode: th.Tensor = with_spread_fixed(distribution).log_prob(actions)
    return of_mode


def _smoothed_log_prob(distribution: Any, actions: th.Tensor) -> th.Tensor:
    """log pi(a | s), of choices smoothed; of anything else as it is."""
    parts = parts_or_none(distribution)
    families = {_family(part) for part in parts}
    log_prob: th.Tensor = distribution.log_prob(actions)
    if families == {th.distributions.Categorical}:
        even = th.stack([_mean_log_prob(part.logits) for part in parts], dim=1).sum(dim=1)
    elif families == {th.distributions.Bernoulli}:
        logits = parts[0].logits
        log_sigmoid = th.nn.functional.logsigmoid
        even = (0.5 * (log_sigmoid(logits) + log_sigmoid(-logits))).sum(dim=1)
    else:
        return log_prob
    return (1.0 - MODE_SMOOTHING) * log_prob + MODE_SMOOTHING * even


def _mean_log_prob(log_probs: th.Tensor) -> th.Tensor:
    """Mean over the choices that aren't masked out, ``[B]``."""
    is_allowed = log_probs > MASKED_LOG_PROB
    return th.where(is_allowed, log_probs, 0.0).sum(dim=1) / is_allowed.sum(dim=1)


def log_prob_of_labels(distribution: Distribution, actions: th.Tensor, is_mode: th.Tensor) -> th.Tensor:
    """
    log pi(a_E | s) of labels, some of which are the mode of the expert's distribution.

    :param distribution: SB3 distribution of B rows
    :param actions: ``[B, *action_shape]``, in the policy's scale
    :param is_mode: Whose gradient leaves the standard deviation alone (:func:`log_prob_of_mode`), ``[B]``
    :return: ``[B]``
    """
    if not is_mode.any():
        return distribution.log_prob(actions)
    of_mode = log_prob_of_mode(distribution, actions)
    return of_mode if is_mode.all() else th.where(is_mode, of_mode, distribution.log_prob(actions))


def masked(distribution: Any, masks: np.ndarray) -> Any:
    """
    The same distribution with no probability where a mask forbids, normalised anew.

    :param distribution: SB3 or sb3-contrib distribution over choices, B rows
    :param masks: Which choices are allowed, ``[B, n_choices]``
    :return: A copy
    :raises FeedbackError: If the distribution isn't one over choices
    """
    parts = parts_of(distribution)
    if any(_family(part) is not th.distributions.Categorical for part in parts):
        raise FeedbackError(
            f"action masks can't be applied to the expert's {type(distribution).__name__}. Use imitation='nll', or an "
            "expert whose distribution is over the choices of a Discrete or MultiDiscrete space."
        )
    sizes = [part.logits.shape[1] for part in parts]
    allowed = th.split(th.as_tensor(np.asarray(masks, dtype=bool), device=parts[0].logits.device), sizes, dim=1)
    return with_parts(
        distribution,
        [
            th.distributions.Categorical(logits=part.logits.masked_fill(~mask, -1e8), validate_args=False)
            for part, mask in zip(parts, allowed, strict=True)
        ],
    )


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
    try:
        mode = distribution.mode()
    except NotImplementedError as error:
        own: Any = getattr(distribution, "whole", distribution)
        raise FeedbackError(
            f"{type(own).__name__}, the policy's distribution, has no mode(), its likeliest action, beside which labels to be "
            "avoided and weights of an expert's rows are measured. Write that method, or do without words of blame, and pass "
            "injection=Injection(row_weight='none')."
        ) from error
    n_dimensions = mode.shape[1] if mode.dim() > 1 else 1
    relative = ((log_prob - distribution.log_prob(mode)) / n_dimensions).clamp(max=0.0)
    if relative.isnan().any():
        raise FeedbackError(
            "the policy's likeliest action has no density to compare others with (NaN), as weights of an expert's rows and "
            "labels to be avoided need. Have the distribution's mode() stay where its log_prob is finite, or pass "
            "injection=Injection(row_weight='none')."
        )
    return relative


def score_cosine(distribution: Distribution, first: th.Tensor, second: th.Tensor) -> th.Tensor:
    """
    Cosine between the gradients of log pi(first | s) and log pi(second | s) by the distribution's means or logits.

    :param distribution: SB3 distribution of B rows, not squashed
    :param first: Actions in the policy's scale, ``[B, action_dim]``, or ``[B]`` integers
    :param second: Likewise
    :return: ``[B]``; 0 where one of them has no gradient
    :raises FeedbackError: For squashed distributions
    """
    if _is_squashed(distribution):
        raise FeedbackError("Weights that compare actions don't know squashed distributions. Leave squash_output=False.")
    parts = parts_of(distribution)
    scores = [th.cat([_score(part, column) for part, column in _columns(parts, a)], dim=1) for a in (first, second)]
    cosine: th.Tensor = th.nn.functional.cosine_similarity(scores[0], scores[1], dim=1)
    return cosine


def _columns(parts: list[Any], actions: th.Tensor) -> list[tuple[Any, th.Tensor]]:
    """Each part with its own columns of the actions."""
    if len(parts) == 1:
        return [(parts[0], actions)]
    return list(zip(parts, actions.unbind(dim=1), strict=True))


def _score(part: Any, actions: th.Tensor) -> th.Tensor:
    """The gradient of a part's log-likelihood by its means or logits, ``[B, n]``."""
    if isinstance(part, th.distributions.Normal):
        score: th.Tensor = (actions - part.loc) / part.scale**2
    elif isinstance(part, th.distributions.Bernoulli):
        score = actions - part.probs
    else:
        score = th.nn.functional.one_hot(actions.long().flatten(), part.logits.shape[1]) - part.probs
    return score


def _family(part: Any) -> type:
    """The torch distribution that a class of SB3 or sb3-contrib specialises."""
    return next((family for family in FAMILIES if isinstance(part, family)), type(part))


def _batched(divergence: th.Tensor) -> th.Tensor:
    # Categorical gives [B]; Normal and Bernoulli give [B, d], which sum_independent_dims reduces.
    return divergence.unsqueeze(1) if divergence.dim() == 1 else divergence


def _is_squashed(distribution: Any) -> bool:
    if isinstance(distribution, OwnDistribution):
        distribution = distribution.whole
    if isinstance(distribution, StateDependentNoiseDistribution):
        return distribution.bijector is not None
    return isinstance(distribution, SquashedDiagGaussianDistribution)
