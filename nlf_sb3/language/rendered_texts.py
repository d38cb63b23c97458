"""Texts that chat templates render: control tokens where the template has written them, words where people have."""

from __future__ import annotations

import re
from typing import Any

from nlf_sb3.language.control_tokens import WordsEncoder

_PROBES = ("Is a pear a fruit?", "Yes.", " It is,\n\nsays the USDA. ")
"""Ordinary contents, for a look at how a tokenizer treats what stands between control tokens."""
_PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))
"""Characters that stand for nothing; no text of the largest size allowed holds all of them."""


class RenderedText:
    """
    Encodes what a chat template renders, part by part between its control tokens.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    :param words: Encodes what people wrote
    """

    def __init__(self, tokenizer: Any, words: WordsEncoder) -> None:
        self._words = words
        self._added = tokenizer.added_tokens_decoder
        self._ids = {text: token for token, text in words.controls.items() if text}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
        self._goes_on = False

    def first_control(self, text: str) -> int | None:
        """
        :param text: A part of a rendered chat template
        :return: The control token that it begins with, spaces aside; None where it begins with a word
        """
        found = self._pattern.match(text.lstrip())
        return self._ids[found.group(1)] if found else None

    def mark(self, contents: list[str]) -> tuple[list[str], MarkedWords]:
        """
        Put marks in the place of control tokens that were typed, so that a chat template can be rendered around them.

        :param contents: What people wrote
        :return: The same with marks, and the words behind the marks
        """
        taken = set("".join(contents))
        border = next(chr(code) for code in _PRIVATE_USE if chr(code) not in taken)
        words = MarkedWords(border)
        return [self._words.replace_typed(content, words.hide) for content in contents], words

    def encode(self, text: str, hidden: MarkedWords) -> list[int]:
        """
        :param text: A rendered chat template, with marks
        :param hidden: What stands behind the marks
        :return: Its tokens: control tokens where the template has written them, words where people have
        """
        parts = self._pattern.split(text)
        tokens: list[int] = []
        for index, part in enumerate(parts):
            if index % 2:
                tokens.append(self._ids[part])
            elif stripped := self._between(parts, index):
                said = hidden.restore(stripped)
                tokens += self._words.encode_after(said) if self._goes_on and index else self._words.encode(said)
        return tokens

    def adapt_to(self, render: Any) -> None:
        """
        Find out how the tokenizer treats what follows a control token: as the beginning of a text, or as what goes on.

        :param render: Makes a text of turns by the chat template
        """
        turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), _PROBES, strict=True)]
        text = render(turns)
        expected = self._words.raw(text)
        for self._goes_on in (True, False):
            if self.encode(text, MarkedWords("")) == expected:
                return

    def _between(self, parts: list[str], index: int) -> str:
        """A text between two control tokens, without the spaces that belong to them."""
        part = parts[index]
        if index and getattr(self._added.get(self._ids[parts[index - 1]]), "rstrip", False):
            part = part.lstrip()
        if index + 1 < len(parts) and getattr(self._added.get(self._ids[parts[index + 1]]), "lstrip", False):
            part = part.rstrip()
        return part


class MarkedWords:
    """
    Words behind marks that no chat template changes.

    :param border: A character that no text holds; empty where nothing is hidden
    """

    def __init__(self, border: str) -> None:
        self._border = border
        self._words: list[str] = []

    def __len__(self) -> int:
        return len(self._words)

    def hide(self, words: str) -> str:
        """
        :param words: Of a person
        :return: The mark for them
        """
        self._words.append(words)
        return f"{self._border}{len(self._words) - 1}{self._border}"

    def restore(self, text: str) -> str:
        """
        :param text: With marks
        :return: With the words
        """
        if not self._words:
            return text
        mark = re.compile(f"{self._border}([0-9]+){self._border}")
        return mark.sub(lambda found: self._words[int(found.group(1))], text)
