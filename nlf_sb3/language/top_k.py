"""Sample among the likeliest tokens alone, and remember which they were: training has to judge by the same ones."""

from __future__ import annotations

import numpy as np
import torch as th

from nlf_sb3.language.contexts import TokenContexts
from nlf_sb3.language.distributions import FORBIDDEN_LOGIT, TokenDistribution
from nlf_sb3.whole_numbers import check_whole_number


class FrozenTopK:
    """
    The k likeliest tokens of each context, as they were when its action was sampled.

    Those of the rollout under way and of the one before it are kept, which episodes under way began in.

    :param k: How many
    """

    def __init__(self, k: int) -> None:
        self.k = check_whole_number("top_k", k, 1)
        self._kept: dict[bytes, np.ndarray] = {}
        self._kept_before: dict[bytes, np.ndarray] = {}

    def next_rollout(self) -> None:
        """Say that a rollout begins."""
        self._kept_before, self._kept = self._kept, {}

    def freeze(self, contexts: np.ndarray, lengths: np.ndarray, log_probs: th.Tensor, *, keeps: bool) -> TokenDistribution:
        """
        :param contexts: Tokens, padded at the right, ``[n, context_length]``
        :param lengths: How many of them each row has, ``[n]``
        :param log_probs: Of all tokens, ``[n, V]``
        :param keeps: Whether to remember the likeliest
        :return: The distribution over the likeliest alone
        """
        chosen = log_probs.topk(min(self.k, log_probs.shape[1]), dim=1).indices
        if keeps:
            for context, length, tokens in zip(contexts, lengths, chosen.cpu().numpy(), strict=True):
                self._kept[_key(context[:length])] = tokens.astype(np.int32)
        only = th.full_like(log_probs, FORBIDDEN_LOGIT).scatter(1, chosen, log_probs.gather(1, chosen))
        return TokenDistribution(log_probs.shape[1]).proba_distribution(only.log_softmax(dim=1))

    def relative(self, contexts: TokenContexts, actions: th.Tensor, log_prob: th.Tensor, log_probs: th.Tensor) -> th.Tensor:
        """
        :param contexts: N rows
        :param actions: Tokens, ``[N]``
        :param log_prob: Their log-probabilities, ``[N]``
        :param log_probs: Of all tokens, ``[N, V]``
        :return: The same relative to the likeliest of each row, where it has an action sampled from them, ``[N]``
        """
        kept = [self._tokens_of(_key(contexts[row])) for row in range(len(contexts))]
        rows = np.array([row for row, tokens in enumerate(kept) if tokens is not None], dtype=np.int64)
        if not len(rows):
            return log_prob
        at = th.as_tensor(rows, device=log_prob.device)
        chosen = th.as_tensor(np.stack([kept[row] for row in rows]), dtype=th.long, device=log_prob.device)  # type: ignore[misc]
        is_among = (chosen == actions[at, None]).any(dim=1)
        mass = log_probs[at[:, None], chosen].logsumexp(dim=1)
        return log_prob.index_add(0, at[is_among], -mass[is_among])

    def _tokens_of(self, key: bytes) -> np.ndarray | None:
        return self._kept.get(key, self._kept_before.get(key))


def _key(tokens: np.ndarray) -> bytes:
    return tokens.astype(np.int32).tobytes()
