"""What turns text into tokens: a protocol, and bytes for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from nlf_sb3.language.history import ROLES, as_one_turn

Prompt = str | list[dict[str, str]]
"""A text, or a conversation as ``[{"role": ..., "content": ...}]``."""


@runtime_checkable
class Tokenizer(Protocol):
    """
    What the token-level environment asks of a tokenizer.

    It may have ``ends``, too: all tokens that end a response, if ``eos`` isn't the only one.
    """

    eos: int
    """The token that ends a response."""
    n_tokens: int
    """Size of the vocabulary: no token is as large."""

    def encode(self, text: str) -> list[int]:
        """
        :param text: A text, or a part of one
        :return: Its tokens, and no others: none that ends a response, whatever is written in it
        """

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: Their text, without special tokens
        """

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: What is to be answered
        :return: The tokens after which the response begins, at least one
        """


class ByteTokenizer:
    """
    Every byte is a token; two more begin and end a text.

    It needs nothing and knows every text: for tests and models trained from scratch.
    """

    bos = 256
    eos = 257
    n_tokens = 258

    def encode(self, text: str) -> list[int]:
        """
        :param text: Any text
        :return: Its bytes in UTF-8
        """
        return list(text.encode())

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: The bytes among them as UTF-8, with a replacement character where they are none
        """
        return bytes(token for token in tokens if token < self.bos).decode(errors="replace")

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: A text, or a conversation, whose messages are put in lines. A line of a message that looks like the
            beginning of another begins with a backslash.
        :return: A beginning, and its bytes
        """
        if not isinstance(prompt, str):
            prompt = "".join(f"{message['role']}: {as_one_turn(message['content'], ROLES)}\n" for message in prompt)
        return [self.bos, *self.encode(prompt)]


def ends_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """
    :param tokenizer: Any
    :return: The tokens that end a response, first the one that an expert's response ends with
    """
    others: Iterable[int] = getattr(tokenizer, "ends", ())
    return tuple(dict.fromkeys([tokenizer.eos, *others]))
