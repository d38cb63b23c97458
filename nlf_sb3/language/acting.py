"""Sample a policy's next tokens, for all environments at once and from a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch as th
from torch import nn

from nlf_sb3.language.contexts import as_padded
from nlf_sb3.language.generation import CachedContexts
from nlf_sb3.language.top_k import FrozenTopK

if TYPE_CHECKING:
    from nlf_sb3.language.distributions import TokenDistribution
    from nlf_sb3.language.models import BodyAndHead

SelfActs = TypeVar("SelfActs", bound="ActsTokenByToken")


class ActsTokenByToken(nn.Module):
    """What a language policy does in rollouts, and when a rollout begins."""

    language_model: Any
    value_net: nn.Linear
    device: th.device
    _parts: BodyAndHead
    _top_k: FrozenTopK | None

    def _build_acting(self, settings: dict[str, Any]) -> None:
        self._has_dropout = bool(settings["dropout"])
        self._cached = CachedContexts(self._parts, self._weights_version)
        self._top_k = None if settings["top_k"] is None else FrozenTopK(settings["top_k"])
        self.train(False)

    def train(self: SelfActs, mode: bool = True) -> SelfActs:
        """
        As in torch; the language model itself has its dropout only with ``dropout=True``.

        :param mode: As in torch
        :return: This policy
        """
        begins_rollout = self.training and not mode
        super().train(mode)
        self.language_model.train(mode and self._has_dropout)
        if mode or begins_rollout:
            self._cached.forget()
        if begins_rollout and self._top_k is not None:
            self._top_k.next_rollout()
        return self

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """
        The next token of each row, without gradients.

        :param obs: Padded tokens, ``[n, context_length]``
        :param deterministic: Take the likeliest
        :return: Tokens ``[n]``, values ``[n, 1]`` and log-probabilities ``[n]``
        """
        return self._next_tokens(obs, deterministic, keeps_top_k=True)

    @th.no_grad()
    def _next_tokens(self, obs: Any, deterministic: bool, keeps_top_k: bool) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        contexts, lengths = as_padded(obs)
        hidden = self._cached.last_hidden(contexts, lengths, self.device)
        distribution = self._distribution_of(hidden)
        if self._top_k is not None:
            kept = self._top_k.freeze(contexts, lengths, distribution.distribution.logits, keeps=keeps_top_k)
            actions = kept.mode() if deterministic else kept.sample()
            log_prob = kept.log_prob(actions)
        else:
            actions = distribution.get_actions(deterministic=deterministic)
            log_prob = distribution.log_prob(actions)
        return actions, self.value_net(hidden), log_prob

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return self._next_tokens(observation, deterministic, keeps_top_k=False)[0]

    if TYPE_CHECKING:

        def _weights_version(self) -> int: ...

        def _distribution_of(self, hidden: th.Tensor) -> TokenDistribution: ...
