"""Tokens that control a model, such as the end of a turn, and texts of people, which must never become such tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from nlf_sb3.errors import FeedbackError

_MARKUP = re.compile(r"(?:<.+>|\[.+\]|\{.+\}|\|.+\|)\Z", re.DOTALL)
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>\Z")
"""How many vocabularies write a byte that is in no other token: it is part of words."""
_ANCHORS = "\n.a0"
"""Texts to put before one that goes on."""
_PROBES = ("Is a pear a fruit?", "Yes.", " It is,\n\nsays the USDA. ")
"""Ordinary contents, for a look at how a tokenizer treats what stands between control tokens."""


def control_tokens_of(tokenizer: Any) -> dict[int, str]:
    """
    The tokens that a text of people must not become: special tokens, and of the other added ones those that look like
    markup or belong to the chat template. Added words are words. The token of unknown words is a word, too, unless it
    begins or ends texts as well.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    :return: Their texts, by their ids
    """
    template = str(tokenizer.chat_template or "")
    controls = {int(token): str(tokenizer.convert_ids_to_tokens(int(token))) for token in tokenizer.all_special_ids}
    for token, added in tokenizer.added_tokens_decoder.items():
        text = str(added.content)
        if added.special or _MARKUP.match(text) or (text in template and not text.isspace() and not text.isalnum()):
            controls[int(token)] = text
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown not in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        controls.pop(int(unknown), None)
    return {token: text for token, text in controls.items() if not _BYTE.match(text)}


class WordsEncoder:
    """
    Encodes what people and chat templates write: control tokens that people type stay words.

    Texts without any control token get the tokenizer's own tokens.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.controls = control_tokens_of(tokenizer)
        self._ids = {text: token for token, text in self.controls.items() if text}
        longest_first = "|".join(re.escape(text) for text in sorted(self._ids, key=len, reverse=True)) or "(?!)"
        self._pattern = re.compile(f"({longest_first})")
        self._typed = re.compile(longest_first, re.IGNORECASE)
        self._spellings: dict[int, list[int]] = {}
        self._goes_on = False
        self._added = tokenizer.added_tokens_decoder
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        self._normalizes = normalizer is not None and any(
            added.normalized for token, added in self._added.items() if token in self.controls
        )

    def raw(self, text: str, **options: Any) -> list[int]:
        """
        :param text: A text in which control tokens are meant
        :param options: Of the tokenizer
        :return: Its tokens
        """
        return [int(token) for token in self._tokenizer(text, add_special_tokens=False, **options)["input_ids"]]

    def encode(self, text: str) -> list[int]:
        """
        :param text: What a person wrote
        :return: Its tokens, none of which is a control token
        """
        tokens = self.raw(text)
        if not self.holds_controls(tokens):
            return tokens
        split = self.raw(text, split_special_tokens=True)
        return [part for token in split for part in (self._spelled(token) if token in self.controls else (token,))]

    def may_hold_controls(self, text: str) -> bool:
        """
        :param text: What a person wrote
        :return: Whether control tokens are written in it, perhaps in another form that the tokenizer makes one of
        """
        return bool(self._typed.search(text)) or (self._normalizes and self.holds_controls(self.raw(text)))

    def holds_controls(self, tokens: Iterable[int]) -> bool:
        """
        :param tokens: Any
        :return: Whether a control token is among them
        """
        return not self.controls.keys().isdisjoint(tokens)

    def first_control(self, text: str) -> int | None:
        """
        :param text: A part of a rendered chat template
        :return: The control token that it begins with, spaces aside; None where it begins with a word
        """
        found = self._pattern.match(text.lstrip())
        return self._ids[found.group(1)] if found else None

    def controls_among(self, tokens: Iterable[int]) -> list[int]:
        """
        :param tokens: Any
        :return: The control tokens among them, in order
        """
        return [token for token in tokens if token in self.controls]

    def mark(self, contents: list[str]) -> tuple[list[str], MarkedWords]:
        """
        Put marks in the place of control tokens that were typed, so that a chat template can be rendered around them.

        :param contents: What people wrote
        :return: The same with marks, and the words behind the marks
        """
        taken = set("".join(contents))
        border = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in taken)
        words = MarkedWords(border)
        return [self._typed.sub(lambda found: words.hide(found.group()), content) for content in contents], words

    def encode_rendered(self, text: str, words: MarkedWords) -> list[int]:
        """
        :param text: A rendered chat template, with marks
        :param words: What stands behind the marks
        :return: Its tokens: control tokens where the template has written them, words where people have
        """
        parts = self._pattern.split(text)
        tokens: list[int] = []
        for index, part in enumerate(parts):
            if index % 2:
                tokens.append(self._ids[part])
            elif stripped := self._between(parts, index):
                said = words.restore(stripped)
                tokens += self._encode_after(said) if self._goes_on and index else self.encode(said)
        return tokens

    def adapt_to(self, render: Any) -> None:
        """
        Find out how the tokenizer treats what follows a control token: as the beginning of a text, or as what goes on.

        :param render: Makes a text of turns by the chat template
        """
        turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), _PROBES, strict=True)]
        text = render(turns)
        expected = self.raw(text)
        for self._goes_on in (True, False):
            if self.encode_rendered(text, MarkedWords("")) == expected:
                return

    def _between(self, parts: list[str], index: int) -> str:
        """A text between two control tokens, without the spaces that belong to them."""
        part = parts[index]
        if index and getattr(self._added.get(self._ids[parts[index - 1]]), "rstrip", False):
            part = part.lstrip()
        if index + 1 < len(parts) and getattr(self._added.get(self._ids[parts[index + 1]]), "lstrip", False):
            part = part.rstrip()
        return part

    def _encode_after(self, text: str) -> list[int]:
        """Tokens of a text that goes on: without the space that some tokenizers begin a text with."""
        return self._following(text, self.encode)

    def _following(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        for anchor in _ANCHORS:
            before, tokens = encode(anchor), encode(anchor + text)
            # What isn't known may be one token together with what follows it.
            if self._tokenizer.unk_token_id not in before and tokens[: len(before)] == before:
                return tokens[len(before) :]
        return encode(text)

    def _spelled(self, token: int) -> list[int]:
        """The words that a control token is written with."""
        if token not in self._spellings:
            self._spellings[token] = self._spell(self.controls[token])
        return self._spellings[token]

    def _spell(self, text: str) -> list[int]:
        split = partial(self.raw, split_special_tokens=True)
        for parts in (*([text[:at], text[at:]] for at in range(1, len(text))), list(text)):
            tokens = [token for part in parts for token in self._following(part, split)]
            if not self.holds_controls(tokens):
                return tokens
        unknown = self._tokenizer.unk_token_id
        if unknown is not None and unknown not in self.controls:
            return [int(unknown)]
        raise FeedbackError(
            f"text: holds {text!r}, which this tokenizer can only encode as a control token. Leave it out, or use another "
            "tokenizer."
        )


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
