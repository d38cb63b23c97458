"""The distribution over the next token: as SB3's categorical one, with fewer copies of a large vocabulary."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.distributions import CategoricalDistribution

FORBIDDEN_LOGIT = -1e8
"""Logit of a token that is never sampled."""
_ROWS_AT_ONCE = 64


class _Entropy(th.autograd.Function):
    """
    Entropy of rows of log-probabilities, ``[N, V]``.

    It keeps nothing but them for the backward pass, which it skips where nobody weighs the entropy.
    """

    @staticmethod
    def forward(ctx: Any, logits: th.Tensor) -> th.Tensor:
        ctx.save_for_backward(logits)
        return -th.cat([(part.exp() * part).sum(dim=1) for part in th.split(logits, _ROWS_AT_ONCE)])

    @staticmethod
    def backward(ctx: Any, grad: th.Tensor) -> th.Tensor | None:  # type: ignore[override]
        if not grad.any():
            return None
        logits: th.Tensor = ctx.saved_tensors[0]
        return -(logits.exp() * (logits + 1.0)) * grad[:, None]


class TokenCategorical(th.distributions.Categorical):
    """
    A categorical distribution that takes its log-probabilities as they are.

    :param logits: Log-probabilities, ``[N, V]``
    :param validate_args: Not used
    """

    def __init__(self, logits: th.Tensor, validate_args: bool | None = None) -> None:
        self.logits = self._param = logits
        self._num_events = logits.shape[-1]
        th.distributions.Distribution.__init__(self, logits.shape[:-1], validate_args=False)

    def log_prob(self, value: th.Tensor) -> th.Tensor:
        """
        :param value: Tokens, ``[N]``
        :return: Their log-probabilities, ``[N]``
        """
        return self.logits.gather(1, value.long().reshape(-1, 1)).squeeze(1)

    def entropy(self) -> th.Tensor:
        """Entropy of each row, ``[N]``."""
        entropy: th.Tensor = _Entropy.apply(self.logits)  # type: ignore[no-untyped-call]
        return entropy


class TokenDistribution(CategoricalDistribution):
    """SB3's categorical distribution over :class:`TokenCategorical`."""

    def proba_distribution(self, action_logits: th.Tensor) -> TokenDistribution:
        """
        :param action_logits: Log-probabilities, ``[N, V]``
        :return: This distribution, refilled
        """
        self.distribution = TokenCategorical(action_logits)
        return self

    def sample(self) -> th.Tensor:
        """Tokens, ``[N]``: the exponential race, which needs no cumulative sums over the vocabulary."""
        logits = self.distribution.logits
        noise = th.empty_like(logits).exponential_().clamp_(min=1e-38)
        return (logits - noise.log_()).argmax(dim=1)

    def mode(self) -> th.Tensor:
        """The likeliest tokens, ``[N]``."""
        return self.distribution.logits.argmax(dim=1)
