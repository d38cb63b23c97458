"""A Gymnasium space of any Unicode text."""

from __future__ import annotations

import string
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Text

from nlf_sb3.language.history import is_unicode

_SAMPLED = string.ascii_letters + string.digits + " .,?"


class UnicodeText(Text):
    """
    Texts of any characters, up to a length.

    Gymnasium's own ``Text`` looks every character up in a set that has to name them all; this one asks whether the text
    can be written as UTF-8. Flattened, a character is its code point. Samples are drawn from a few ASCII characters.

    >>> "¿Qué tal? 你好" in UnicodeText(100)
    True
    >>> "\\ud800" in UnicodeText(100)
    False

    :param max_length: Most characters
    :param min_length: Least characters
    :param seed: Seed of the samples
    """

    def __init__(self, max_length: int, *, min_length: int = 0, seed: int | None = None) -> None:
        super().__init__(max_length, min_length=min_length, charset=_SAMPLED, seed=seed)

    def contains(self, x: Any) -> bool:
        """
        :param x: Anything
        :return: Whether it is a text of the space
        """
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length and is_unicode(x)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """
        :param mask: Not used: there are too many characters to give a mask of
        :param probability: Not used, either
        :return: A text of random length and characters
        :raises ValueError: If a mask or probabilities are given
        """
        if mask is not None or probability is not None:
            raise ValueError("sample: got a mask or probabilities, expected none. Use gymnasium.spaces.Text with a charset.")
        length = self.np_random.integers(self.min_length, self.max_length + 1)
        return "".join(self.np_random.choice(list(_SAMPLED), size=length))

    def character_index(self, char: str) -> np.int32:
        """
        :param char: A character
        :return: Its code point
        """
        index: np.int32 = np.int32(ord(char))
        return index

    @property
    def character_list(self) -> Any:
        """All characters, by their code point."""
        return _ALL

    @property
    def character_set(self) -> Any:
        """All characters."""
        return _ALL

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and (self.min_length, self.max_length) == (other.min_length, other.max_length)

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length}, min_length={self.min_length})"


class _AllCharacters(Sequence[str]):
    """Every character, none of them stored."""

    def __len__(self) -> int:
        return sys.maxunicode + 1

    def __getitem__(self, index: Any) -> Any:
        return chr(index)

    def __contains__(self, char: object) -> bool:
        return isinstance(char, str) and len(char) == 1


_ALL = _AllCharacters()
