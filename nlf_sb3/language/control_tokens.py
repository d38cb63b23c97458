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
    Encodes what people write: control tokens that they type stay words.

    Texts without any control token get the tokenizer's own tokens.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.controls = control_tokens_of(tokenizer)
        """Texts of the control tokens, by their ids."""
        longest_first = sorted(filter(None, self.controls.values()), key=len, reverse=True)
        self._typed = re.compile("|".join(map(re.escape, longest_first)) or "(?!)", re.IGNORECASE)
        self._spellings: dict[int, list[int]] = {}
        added_tokens = tokenizer.added_tokens_decoder
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        self._normalizes = normalizer is not None and any(
            added.normalized for token, added in added_tokens.items() if token in self.controls
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

    def replace_typed(self, text: str, by: Callable[[str], str]) -> str:
        """
        :param text: What a person wrote
        :param by: Maps a control token that is written in it to something else
        :return: The text with that
        """
        return self._typed.sub(lambda found: by(found.group()), text)

    def holds_controls(self, tokens: Iterable[int]) -> bool:
        """
        :param tokens: Any
        :return: Whether a control token is among them
        """
        return not self.controls.keys().isdisjoint(tokens)

    def controls_among(self, tokens: Iterable[int]) -> list[int]:
        """
        :param tokens: Any
        :return: The control tokens among them, in order
        """
        return [token for token in tokens if token in self.controls]

    def encode_after(self, text: str) -> list[int]:
        """
        :param text: What a person wrote, which goes on after something else
        :return: Its tokens, without the space that some tokenizers begin a text with
        """
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
