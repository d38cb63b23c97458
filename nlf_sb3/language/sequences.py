"""A sequence of tokens that grows at its end."""

from __future__ import annotations

from typing import Any

import numpy as np


class TokenSequence:
    """
    A prompt and the tokens after it, growing at its end.

    :param tokens: ``[n]`` integers
    """

    __slots__ = ("_length", "_tokens")

    def __init__(self, tokens: Any) -> None:
        self._tokens = np.array(tokens, dtype=np.int32).reshape(-1)
        self._length = len(self._tokens)

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> np.ndarray:
        """All tokens, ``[n]``."""
        return self._tokens[: self._length]

    @property
    def nbytes(self) -> int:
        """Bytes that its tokens take, with the room to grow."""
        return int(self._tokens.nbytes)

    def append(self, token: int) -> None:
        """
        :param token: The token that follows
        """
        if self._length == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros(max(8, self._length // 2), dtype=np.int32)])
        self._tokens[self._length] = token
        self._length += 1

    def starts_with(self, tokens: np.ndarray) -> bool:
        """
        :param tokens: ``[k]``
        :return: Whether they are its first
        """
        return len(tokens) <= self._length and np.array_equal(self._tokens[: len(tokens)], tokens)


NOTHING = TokenSequence([])
"""The sequence of rows that hold nothing yet."""
