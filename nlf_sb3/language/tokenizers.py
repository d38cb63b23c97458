"""What turns text into tokens: a protocol, and bytes for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from nlf_sb3.language.history import ROLES, as_one_turn, is_unicode

Prompt = str | list[dict[str, str]]
"""A text, or a conversation as ``[{"role": ..., "content": ...}]``."""


def check_prompt(prompt: Any) -> None:
    """
    Only texts are protected from becoming control tokens: neither parts of a content nor names of roles are.

    :param prompt: A text or a conversation
    :raises TypeError: If it is neither, or a turn's content is no text
    :raises ValueError: For a role that isn't one, and a text that is no Unicode
    """
    if not isinstance(prompt, (str, list)):
        raise TypeError(
            f"prompt: got {type(prompt).__name__}, expected a str or a list of messages. Pass prompt=, a function that "
            "makes one of an observation."
        )
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    for index, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            raise TypeError(f"prompt[{index}]: got {type(turn).__name__}, expected a message of role and content.")
        content, role = turn.get("content"), turn.get("role")
        if not isinstance(content, str):
            raise TypeError(
                f"prompt[{index}]: got content of {type(content).__name__}, expected a str. Join the texts of its parts."
            )
        if role not in ROLES:
            raise ValueError(f"prompt[{index}]: got role {role!r:.80}, expected one of {', '.join(ROLES)}.")
        if not is_unicode(content):
            raise ValueError(
                f"prompt: {prompt!r:.80} holds half of a surrogate pair, expected Unicode. Mend it, or leave it out."
            )


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
