"""The language model as it was before training, which a KL penalty holds the policy to."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch as th
from torch import nn

from nlf_sb3.language.contexts import TokenContexts, as_contexts
from nlf_sb3.language.models import BodyAndHead

if TYPE_CHECKING:
    from nlf_sb3.language.distributions import TokenDistribution


class HasReference(nn.Module):
    """What a policy says of its reference: with LoRA the model without its adapter, else a frozen copy, if asked for."""

    language_model: Any
    action_dist: Any
    _parts: BodyAndHead

    def _build_reference(self, causal_lm: Any, settings: dict[str, Any]) -> None:
        self._has_adapter = settings["lora"] is not None
        self.reference_model: Any = None
        if settings["reference"] and not self._has_adapter:
            self.reference_model = copy.deepcopy(causal_lm).requires_grad_(False).eval()
            self._reference_parts = BodyAndHead(self.reference_model, settings["model"])

    @contextlib.contextmanager
    def _as_reference(self) -> Iterator[None]:
        """While active, hidden states and logits are the reference's."""
        if self.reference_model is None and not self._has_adapter:
            raise RuntimeError("The policy has no reference. Pass policy_kwargs={'reference': True}, or lora=.")
        if self._has_adapter:
            was_training = self.language_model.training
            with self.language_model.disable_adapter():
                self.language_model.eval()
                yield
            self.language_model.train(was_training)
            return
        own, self._parts = self._parts, self._reference_parts
        try:
            yield
        finally:
            self._parts = own

    @th.no_grad()
    def reference_log_probs(self, obs: Any) -> th.Tensor:
        """
        :param obs: Contexts, or padded tokens, N rows
        :return: The reference's log-probabilities of all tokens, at the policy's temperature, ``[N, V]``
        """
        with self._as_reference():
            hidden = self._hidden_of(as_contexts(obs))
            return self._log_probs_of(self._parts.head(hidden))

    def reference_log_prob(self, obs: Any, actions: th.Tensor) -> th.Tensor:
        """
        :param obs: Contexts, or padded tokens, N rows
        :param actions: Tokens, ``[N]``
        :return: The reference's log-probabilities of them, without gradients, ``[N]``
        """
        return self.reference_log_probs(obs).gather(1, actions.long().reshape(-1, 1)).squeeze(1)

    def reference_kl(self, obs: Any, distribution: TokenDistribution | None = None) -> th.Tensor:
        """
        KL(policy || reference) in each row, exact, with the policy's gradient.

        :param obs: Contexts, or padded tokens, N rows
        :param distribution: The policy's in these rows, if it has just been computed (``policy.action_dist``, right after
            ``evaluate_actions``); None to compute it, which refills ``policy.action_dist``
        :return: ``[N]``
        """
        if distribution is None:
            distribution = self.get_distribution(obs)
        own: th.Tensor = distribution.distribution.logits
        return (own.exp() * (own - self.reference_log_probs(obs))).sum(dim=1)

    if TYPE_CHECKING:

        def get_distribution(self, obs: Any) -> TokenDistribution: ...

        def _hidden_of(self, contexts: TokenContexts) -> th.Tensor: ...

        def _log_probs_of(self, logits: th.Tensor) -> th.Tensor: ...
