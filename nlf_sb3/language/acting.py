"""Sample a policy's next tokens, for all environments at once and from a cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch as th
from torch import nn

from nlf_sb3.language.contexts import EMPTY, as_padded
from nlf_sb3.language.distributions import TokenDistribution
from nlf_sb3.language.generation import CachedContexts
from nlf_sb3.language.top_k import FrozenTopK

if TYPE_CHECKING:
    from nlf_sb3.language.body_and_head import BodyAndHead

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
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        *,
        ends: Sequence[int],
        deterministic: bool = False,
        temperature: float | None = None,
    ) -> list[list[int]]:
        """
        What follows on each prompt, all side by side, by the same distribution as :meth:`forward`.

        A rollout under way, its cache and its random choices aside, goes on as if nothing had happened.

        :param prompts: Tokens, at least one each
        :param max_new_tokens: The longest response
        :param ends: The tokens that end a response, at least one
        :param deterministic: Take the likeliest
        :param temperature: Of samples; None for the policy's
        :return: The tokens of each response, without the end
        :raises ValueError: For a prompt without a token, and without ends
        """
        if not len(ends):
            raise ValueError("ends: got none, expected the tokens that end a response, such as tokenizer.ends.")
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        contexts = np.full((len(prompts), int(lengths.max(initial=0)) + max_new_tokens), EMPTY, dtype=np.int64)
        for row, prompt in zip(contexts, prompts, strict=True):
            row[: len(prompt)] = prompt
        made = np.full((len(prompts), max_new_tokens), ends[0], dtype=np.int64)
        cached, rows = CachedContexts(self._parts, self._weights_version), np.arange(len(prompts))
        with self.without_dropout():
            for step in range(max_new_tokens if prompts else 0):
                hidden = cached.last_hidden(contexts, lengths, self.device)
                log_probs = self._log_probs_of(self._parts.head(hidden), temperature)
                acting = self._acting_distribution(contexts, lengths, log_probs, keeps_top_k=False)
                made[:, step] = acting.get_actions(deterministic=deterministic).cpu().numpy()
                if np.isin(made[:, : step + 1], ends).any(axis=1).all():
                    break
                contexts[rows, lengths] = made[:, step]  # those that have ended go on too, so that all stay in the cache
                lengths = lengths + 1
        is_end = np.isin(made, ends)
        return [row[: int(over.argmax()) if over.any() else None].tolist() for row, over in zip(made, is_end, strict=True)]

    @contextlib.contextmanager
    def without_dropout(self) -> Iterator[None]:
        """While active, the language model has no dropout."""
        was_training = self.language_model.training
        self.language_model.eval()
        try:
            yield
        finally:
            self.language_model.train(was_training)

    @th.no_grad()
    def _next_tokens(self, obs: Any, deterministic: bool, keeps_top_k: bool) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        contexts, lengths = as_padded(obs)
        hidden = self._cached.last_hidden(contexts, lengths, self.device)
        log_probs = self._distribution_of(hidden).distribution.logits
        acting = self._acting_distribution(contexts, lengths, log_probs, keeps_top_k=keeps_top_k)
        actions = acting.get_actions(deterministic=deterministic)
        return actions, self.value_net(hidden), acting.log_prob(actions)

    def _acting_distribution(
        self, contexts: np.ndarray, lengths: np.ndarray, log_probs: th.Tensor, *, keeps_top_k: bool
    ) -> TokenDistribution:
        """What is sampled from: all tokens, or the likeliest k."""
        if self._top_k is not None:
            return self._top_k.freeze(contexts, lengths, log_probs, keeps=keeps_top_k)
        return TokenDistribution(log_probs.shape[1]).proba_distribution(log_probs)

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return self._next_tokens(observation, deterministic, keeps_top_k=False)[0]

    if TYPE_CHECKING:

        def _weights_version(self) -> int: ...

        def _distribution_of(self, hidden: th.Tensor) -> TokenDistribution: ...

        def _log_probs_of(self, logits: th.Tensor, temperature: float | None = None) -> th.Tensor: ...
