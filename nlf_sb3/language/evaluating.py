"""How likely a language policy finds tokens, all of them in one forward pass over each sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch as th
from torch import nn

from nlf_sb3.language.contexts import TokenContexts, as_contexts
from nlf_sb3.language.distributions import FORBIDDEN_LOGIT, TokenDistribution

if TYPE_CHECKING:
    from nlf_sb3.language.body_and_head import BodyAndHead
    from nlf_sb3.language.reference import PartsAsTheyWere
    from nlf_sb3.language.top_k import FrozenTopK


class EvaluatesTokens(nn.Module):
    """What a language policy says of tokens that are there already."""

    action_dist: Any
    device: th.device
    n_tokens: int
    temperature: float
    value_detached: bool
    value_net: nn.Linear
    _forbidden: th.Tensor
    _parts: BodyAndHead
    _top_k: FrozenTopK | None

    def evaluate_actions(self, obs: Any, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """
        One forward pass over each distinct sequence; ``action_dist`` is then the distribution in all rows.

        :param obs: Contexts, ``[N]``, or padded tokens, ``[N, context_length]``
        :param actions: Tokens, ``[N]``
        :return: Values ``[N, 1]``, log-probabilities ``[N]`` and entropies ``[N]``
        :raises ValueError: If an action is a forbidden token
        """
        contexts = as_contexts(obs)
        actions = actions.long().flatten()
        if len(self._forbidden) and th.isin(actions, self._forbidden).any():
            raise ValueError("evaluate_actions: an action is one of forbidden_tokens, which the policy gives no probability.")
        hidden = self._hidden_of(contexts)
        distribution = self._distribution_of(hidden)
        log_prob = distribution.log_prob(actions)
        if self._top_k is not None:
            log_prob = self._top_k.relative(contexts, actions, log_prob, distribution.distribution.logits)
        return self._values_of(hidden), log_prob, distribution.entropy()

    def get_distribution(self, obs: Any) -> TokenDistribution:
        """
        :param obs: Contexts, or padded tokens, N rows
        :return: The distribution over the next tokens
        """
        return self._distribution_of(self._hidden_of(as_contexts(obs)))

    def predict_values(self, obs: Any) -> th.Tensor:
        """
        :param obs: Contexts, or padded tokens, N rows
        :return: Values, ``[N, 1]``
        """
        return self._values_of(self._hidden_of(as_contexts(obs)))

    def _hidden_of(self, contexts: TokenContexts, parts: BodyAndHead | PartsAsTheyWere | None = None) -> th.Tensor:
        """The last hidden state of each row, by the model or by other parts, ``[N, hidden_size]``."""
        tokens, index = contexts.padded()
        hidden = (parts or self._parts).hidden(th.as_tensor(tokens, device=self.device))
        at = th.as_tensor(contexts.lengths - 1, dtype=th.long, device=self.device)
        return hidden[th.as_tensor(index, device=self.device), at]

    def _values_of(self, hidden: th.Tensor) -> th.Tensor:
        values: th.Tensor = self.value_net(hidden.detach() if self.value_detached else hidden)
        return values

    def _distribution_of(self, hidden: th.Tensor) -> TokenDistribution:
        distribution: TokenDistribution = self.action_dist.proba_distribution(self._log_probs_of(self._parts.head(hidden)))
        return distribution

    def _log_probs_of(self, logits: th.Tensor, temperature: float | None = None) -> th.Tensor:
        """Log-probabilities of logits at a temperature, or at the policy's, ``[N, V]``."""
        logits = logits[:, : self.n_tokens]
        temperature = self.temperature if temperature is None else temperature
        if temperature != 1.0:
            logits = logits / temperature
        if len(self._forbidden):
            logits = logits.index_fill(1, self._forbidden, FORBIDDEN_LOGIT)
        return logits.log_softmax(dim=1)
