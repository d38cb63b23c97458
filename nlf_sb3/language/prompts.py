"""What a policy answers, as tokens: a text or a conversation, out of an observation or its info."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from nlf_sb3.language.conversation import HISTORY_KEY
from nlf_sb3.language.tokenizers import Prompt, Tokenizer, check_prompt

PromptSource = Callable[[Any], Prompt] | Literal["history"] | None
"""Where a prompt comes from: a function of the observation, the history in the info, or the observation itself."""


class Prompts:
    """
    Encodes the prompts of an environment.

    :param tokenizer: Of the environment
    :param source: Where they come from
    :param max_new_tokens: The longest response
    :param context_length: Room for a prompt and a response
    :param cut: Cut those that don't fit at their left
    :raises ValueError: If the source is none
    """

    def __init__(
        self, tokenizer: Tokenizer, source: PromptSource, *, max_new_tokens: int, context_length: int, cut: bool
    ) -> None:
        if isinstance(source, str) and source != "history":
            raise ValueError(f"prompt: got {source!r}, expected 'history', a function of the observation, or None.")
        self._tokenizer, self._prompt, self._cut = tokenizer, source, cut
        self._max_new_tokens, self._context_length = max_new_tokens, context_length

    def of(self, observation: Any, info: dict[str, Any]) -> list[int]:
        """
        :param observation: Of the environment
        :param info: Beside it
        :return: The tokens of its prompt
        """
        return self.encode(self._prompt_of(observation, info))

    def _prompt_of(self, observation: Any, info: dict[str, Any]) -> Any:
        if self._prompt is None:
            return observation
        if callable(self._prompt):
            return self._prompt(observation)
        if HISTORY_KEY not in info:
            raise ValueError(
                f'prompt="history": got an info with {", ".join(map(str, info)) or "nothing"} in it, expected '
                f'"{HISTORY_KEY}", the turns so far. Use an environment that gives them, such as '
                "ConversationEnv, or pass a function."
            )
        return [dict(turn) for turn in info[HISTORY_KEY]]

    def encode(self, prompt: Any) -> list[int]:
        """
        :param prompt: A text or a conversation
        :return: Its tokens
        :raises TypeError: If it is neither, or a turn's content is no text
        :raises ValueError: If it has none, too many, or some past the vocabulary; for roles and texts that are none
        """
        check_prompt(prompt)
        tokens = self._tokenizer.encode_prompt(prompt)
        room = self._context_length - self._max_new_tokens
        if not tokens:
            raise ValueError(
                f"prompt: {prompt!r} has no token, and a response has to begin after one. Begin it with some text."
            )
        if len(tokens) > room and not self._cut:
            raise ValueError(
                f"prompt: got {len(tokens)} tokens, expected at most {room} (context_length={self._context_length} less "
                f"max_new_tokens={self._max_new_tokens}). Raise context_length, or pass cut_prompt=True to lose its beginning."
            )
        if not 0 <= min(tokens) <= max(tokens) < self._tokenizer.n_tokens:
            raise ValueError(
                f"prompt: {prompt!r:.80} has tokens from {min(tokens)} to {max(tokens)}, expected all below the tokenizer's "
                f"n_tokens={self._tokenizer.n_tokens}. Give it the size of its whole vocabulary."
            )
        return tokens[-room:]
