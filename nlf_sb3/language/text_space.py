"""A Gymnasium space of any Unicode text."""

from __future__ import annotations

import string
from typing import Any

from gymnasium.spaces import Text

from nlf_sb3.language.history import is_unicode

_SAMPLED = string.ascii_letters + string.digits + " .,?"


class UnicodeText(Text):
    """
    Texts of any characters, up to a length.

    Gymnasium's own ``Text`` looks every character up in a set that has to name them all; this one asks whether the text
    can be written as UTF-8. Samples are drawn from a few ASCII characters.

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and (self.min_length, self.max_length) == (other.min_length, other.max_length)

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length}, min_length={self.min_length})"
