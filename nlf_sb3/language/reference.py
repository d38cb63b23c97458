"""The language model as it was before training, which a KL penalty holds the policy to."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch as th
from torch import nn
from torch.func import functional_call

from nlf_sb3.language.body_and_head import BodyAndHead
from nlf_sb3.language.contexts import TokenContexts, as_contexts

if TYPE_CHECKING:
    from nlf_sb3.language.distributions import TokenDistribution
    from nlf_sb3.language.models import LoadedModel


class PartsAsTheyWere(nn.Module):
    """
    A body and a head with some of their weights as they are now.

    :param parts: The body and the head, which go on training
    :param weights: Those of which copies are kept
    """

    def __init__(self, parts: BodyAndHead, weights: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self._parts = parts
        name_of: dict[int, str] = {}
        for weight in weights:
            name_of[id(weight)] = f"weight_{len(name_of)}"
            self.register_buffer(name_of[id(weight)], weight.detach().clone(), persistent=False)
        self._names_in_body, self._names_in_head = (
            {name: name_of[id(weight)] for name, weight in part.named_parameters() if id(weight) in name_of}
            for part in (parts.body, parts.head)
        )

    def hidden(self, tokens: th.Tensor) -> th.Tensor:
        """As :meth:`~nlf_sb3.language.body_and_head.BodyAndHead.hidden`."""
        weights = {name: getattr(self, kept) for name, kept in self._names_in_body.items()}
        inputs = {"input_ids": tokens, "use_cache": False}
        return functional_call(self._parts.body, weights, (), inputs).last_hidden_state  # type: ignore[no-any-return]

    def head(self, hidden: th.Tensor) -> th.Tensor:
        """
        :param hidden: Hidden states, ``[..., hidden_size]``
        :return: Logits
        """
        weights = {name: getattr(self, kept) for name, kept in self._names_in_head.items()}
        return functional_call(self._parts.head, weights, (hidden,))  # type: ignore[no-any-return]


class HasReference(nn.Module):
    """
    What a policy says of its reference, the model as it was loaded.

    Of a whole model's weights copies are kept, if asked for; of a saved adapter's always. A new adapter is switched off, and
    copies are kept of the model's weights that train beside it.
    """

    language_model: Any
    action_dist: Any
    _parts: BodyAndHead

    def _build_reference(self, loaded: LoadedModel, wanted: bool) -> None:
        """
        :param loaded: The model
        :param wanted: Whether to keep copies of a whole model
        """
        self._is_switched_off = loaded.trains == "new_adapter"
        self.reference: PartsAsTheyWere | None = None
        if wanted or loaded.trains != "whole":
            trained = [weight for weight in loaded.language_model.parameters() if weight.requires_grad]
            if self._is_switched_off:
                trained = [weight for weight in trained if id(weight) in loaded.own_weights]
            self.reference = PartsAsTheyWere(self._parts, trained)

    @contextlib.contextmanager
    def _as_reference(self) -> Iterator[PartsAsTheyWere]:
        """Gives what makes the reference's hidden states and logits while active."""
        if self.reference is None:
            raise RuntimeError("The policy has no reference. Pass policy_kwargs={'reference': True}, or lora=.")
        with self._without_new_adapter(), self.without_dropout():
            yield self.reference

    @contextlib.contextmanager
    def _without_new_adapter(self) -> Iterator[None]:
        if not self._is_switched_off:
            yield
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Careful, disabling adapter layers with bias")  # those are kept
            with self.language_model.disable_adapter():
                yield

    @th.no_grad()
    def reference_log_probs(self, obs: Any) -> th.Tensor:
        """
        :param obs: Contexts, or padded tokens, N rows
        :return: The reference's log-probabilities of all tokens, at the policy's temperature, ``[N, V]``
        """
        with self._as_reference() as reference:
            return self._log_probs_of(reference.head(self._hidden_of(as_contexts(obs), reference)))

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

        def _hidden_of(self, contexts: TokenContexts, parts: Any = None) -> th.Tensor: ...

        def without_dropout(self) -> contextlib.AbstractContextManager[None]: ...

        def _log_probs_of(self, logits: th.Tensor) -> th.Tensor: ...
