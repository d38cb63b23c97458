"""Expected responses as the episodes of an expert: their tokens from the same prompt, with a reward on the last one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.contexts import EMPTY, TokenContexts
from nlf_sb3.language.conversation import EXPECTED_RESPONSE_KEY
from nlf_sb3.language.history import is_unicode
from nlf_sb3.language.tokenizers import Tokenizer, ends_of
from nlf_sb3.segments import ExpertSegment


class ExpertResponses:
    """
    Makes episodes of expected responses.

    :param tokenizer: Of the environment
    :param max_new_tokens: The longest response, its end included
    :param context_length: Room for a prompt and a response
    :param forbidden_tokens: Tokens that no response may hold
    """

    def __init__(
        self, tokenizer: Tokenizer, max_new_tokens: int, context_length: int, forbidden_tokens: Iterable[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._ends = ends_of(tokenizer)
        self._max_new_tokens, self._context_length = max_new_tokens, context_length
        self._forbidden = frozenset(forbidden_tokens)

    def segment(self, prompt: list[int], response: Any, reward: float) -> ExpertSegment:
        """
        :param prompt: Its tokens
        :param response: What the expert answers
        :param reward: Of its last token
        :return: The episode
        :raises FeedbackError: If the response is no text, too long, or holds a token that no response may hold
        """
        if not isinstance(response, str):
            raise FeedbackError(f"{EXPECTED_RESPONSE_KEY}: got {type(response).__name__}, expected a str.")
        if not is_unicode(response):
            raise FeedbackError(f"{EXPECTED_RESPONSE_KEY}: {response!r:.80} holds half of a surrogate pair, expected Unicode.")
        actions = np.array([*self._encoded(response), self._tokenizer.eos], dtype=np.int64)
        n_steps = len(actions)
        if n_steps > self._max_new_tokens:
            raise FeedbackError(
                f"{EXPECTED_RESPONSE_KEY}: got {n_steps} tokens with the end of sequence, expected at most "
                f"max_new_tokens={self._max_new_tokens}. Raise it, or expect something shorter: {response[:80]!r}"
            )
        forbidden = sorted(set(actions.tolist()) & self._forbidden)
        if forbidden:
            raise FeedbackError(f"{EXPECTED_RESPONSE_KEY}: {response[:80]!r} holds forbidden_tokens {forbidden}.")
        rewards = np.zeros(n_steps)
        rewards[-1] = reward
        whole = np.array([*prompt, *actions], dtype=np.int64)
        last = np.full(self._context_length, EMPTY, dtype=np.int64)
        last[: len(whole)] = whole
        return ExpertSegment(
            observations=TokenContexts.of_sequence(whole, len(prompt) + np.arange(n_steps)),
            actions=actions,
            rewards=rewards,
            terminated=True,
            truncated=False,
            last_observation=last,
            fork_step=0,
        )

    def _encoded(self, response: str) -> list[int]:
        """Tokens of an expected response without its end, which a tokenizer may have put behind it."""
        tokens = list(self._tokenizer.encode(response))
        while tokens and tokens[-1] in self._ends:
            tokens.pop()
        n_tokens = self._tokenizer.n_tokens
        wrong = [token for token in tokens if token in self._ends or not 0 <= token < n_tokens]
        if wrong:
            raise FeedbackError(
                f"{EXPECTED_RESPONSE_KEY}: the tokenizer makes token {wrong[0]} of {response[:80]!r}, expected none that ends "
                f"a response ({self._ends}) and all below n_tokens={n_tokens}. Have it encode texts as words."
            )
        return tokens
