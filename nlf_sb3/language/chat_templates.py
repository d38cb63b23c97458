"""Conversations in a tokenizer's chat template, as tokens, and how the template ends a response."""

from __future__ import annotations

import contextlib
from typing import Any

from nlf_sb3.language.control_tokens import WordsEncoder
from nlf_sb3.language.rendered_texts import RenderedText

_ANSWER = "\N{WHITE SQUARE}answer\N{WHITE SQUARE}"


class ChatTemplate:
    """
    A tokenizer's chat template.

    :param tokenizer: A ``PreTrainedTokenizerBase`` that has one
    :param words: Encodes what people wrote
    """

    def __init__(self, tokenizer: Any, words: WordsEncoder) -> None:
        self._tokenizer = tokenizer
        self._words = words
        self._rendered = RenderedText(tokenizer, words)
        self.turn_end = self._turn_end()
        """The token that ends a response; None where the template has none."""
        with contextlib.suppress(ValueError):  # a template of single questions
            self._rendered.adapt_to(self._render)

    def encode(self, turns: list[dict[str, str]]) -> list[int]:
        """
        The tokenizer's own tokens, except where a control token was typed: there the words are kept apart from the template.

        :param turns: Of a conversation
        :return: Its tokens, up to where the assistant answers
        :raises ValueError: If the template refuses the turns
        """
        words = self._words
        tokens = words.raw(self._render(turns))
        texts = [turn["content"] for turn in turns]
        if not any(map(words.may_hold_controls, texts)):
            return tokens
        marked, hidden = self._rendered.mark(texts)
        turns = [{**turn, "content": text} for turn, text in zip(turns, marked, strict=True)]
        careful = self._rendered.encode(self._render(turns), hidden)
        # A template may have taken out what was typed, as it does with earlier thoughts between control tokens.
        return tokens if words.controls_among(tokens) == words.controls_among(careful) else careful

    def _render(self, turns: list[dict[str, str]], asks: bool = True) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asks))
        except Exception as error:  # templates raise what they like
            roles = ", ".join(str(turn["role"]) for turn in turns)
            raise ValueError(
                f"prompt: the tokenizer's chat template refuses turns of {roles}: {error}. Leave such turns out, or join "
                "their content to the user's."
            ) from error

    def _turn_end(self) -> int | None:
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
        try:
            text = self._render(turns, asks=False)
        except ValueError:
            return None
        return self._rendered.first_control(text.rpartition(_ANSWER)[2]) if _ANSWER in text else None
