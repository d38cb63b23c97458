# ruff: noqa: RUF001 - this file is about characters that look alike
"""Find phrases in texts of any script: what is written differently and reads the same is the same, and words have borders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WIDTHS = ("<wide>", "<narrow>", "<font>", "<noBreak>", "<sub>")
"""Compatibility forms that are the same letters. Raised ones are footnotes, and ™ is no TM."""
_APOSTROPHES = "’‘‛ʼʻʹ′‵`´ꞌ՚"
_QUOTES = "“”„‟″"
_DASHES = "‐‑‒–—―−﹘﹣"
_ZERO_WIDTH_SPACE = "\u200b"
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]")
_UNSPACED = re.compile(  # Thai to Javanese, then Chinese, Japanese and Yi
    "[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf"
    "\u3005-\u3007\u3041-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7af]")
_EMPHASIS = "[*_~]*"
"""What marks words in Markdown, and may stand beside a space within a phrase."""


class _Folded(dict[int, str]):
    """What each character is written as, looked up when it first occurs."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


def _fold(char: str) -> str:
    for variants, plain in ((_APOSTROPHES, "'"), (_QUOTES, '"'), (_DASHES, "-")):
        if char in variants:
            return plain
    if unicodedata.decomposition(char).startswith(_WIDTHS) or "\ufb00" <= char <= "\ufb06":  # the last are ligatures
        plain = unicodedata.normalize("NFKC", char)
        return plain if len(plain) > 1 or plain == char else _fold(plain)
    return char


_FOLDED = _Folded()


def normal(text: str, cased: bool) -> str:
    """
    :param text: Any
    :param cased: Whether its case counts
    :return: It with plain apostrophes, quotes, dashes, spaces and widths, composed accents, nothing invisible, and in lower
        case unless that counts
    """
    if not text.isascii() or "`" in text:
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text).translate(_FOLDED))
    if not cased:
        text = unicodedata.normalize("NFC", text.casefold()).replace("i\u0307", "i").replace("ı", "i")
    return " ".join(text.split())


def variants(text: str, cased: bool) -> Iterator[str]:
    """
    A text as it may be read: a zero-width space is nothing, or the border of words.

    :param text: Any
    :param cased: Whether its case counts
    :return: Normal texts
    """
    yield normal(text, cased)
    if _ZERO_WIDTH_SPACE in text:
        yield normal(text.replace(_ZERO_WIDTH_SPACE, " "), cased)


def find(phrases: tuple[str, ...], text: str) -> Iterator[tuple[int, int]]:
    """
    Where phrases stand as words: at borders of words in scripts with spaces, anywhere in scripts without.

    :param phrases: Normal texts
    :param text: A normal text
    :return: Beginning and end of each place
    """
    pattern = _pattern(phrases)
    found = pattern.search(text)
    while found:
        start, end = found.span()
        if _is_border(text, start, False) and _is_border(text, end, True):
            yield start, end
        found = pattern.search(text, start + 1)


def is_last(text: str, end: int) -> bool:
    """
    :param text: A normal text
    :param end: A place in it
    :return: Whether no word comes after it
    """
    return not any(map(_is_word, text[end:]))


def count_words(text: str) -> int:
    """
    Words between spaces; in scripts without spaces every character is one, as word processors count them.

    >>> count_words("Pears are high in fiber."), count_words("USDA 说梨是水果。")
    (5, 6)

    :param text: Any
    :return: How many
    """
    return sum(map(_count_in, _INVISIBLE.sub("", text).split()))


def _count_in(part: str) -> int:
    characters = _UNSPACED.findall(part)
    if not characters:
        return 1
    others = _UNSPACED.sub(" ", part).split()
    return sum(map(_is_letter, characters)) + sum(any(map(_is_letter, other)) for other in others)


@lru_cache(maxsize=4096)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    several = "|".join(_EMPHASIS.join(["", " ", ""]).join(map(re.escape, phrase.split())) for phrase in longest_first)
    # Quick to say no: an ASCII letter before an ASCII letter is no border.
    before = "(?<![A-Za-z0-9])" if all(phrase[0].isascii() and phrase[0].isalnum() for phrase in phrases) else ""
    return re.compile(f"{before}(?:{several})")


def _is_border(text: str, at: int, at_end: bool) -> bool:
    """Whether no word goes on across a place."""
    if at in (0, len(text)):
        return True
    left, right = text[at - 1], text[at]
    if unicodedata.category(right)[0] == "M":
        return not _is_word(left)
    if not (_is_word(left) and _is_word(right)):
        return True
    if _UNSPACED.match(left) or _UNSPACED.match(right):
        return True
    # Korean puts particles behind a word, and a Korean word behind one in another script.
    of_left, of_right = _HANGUL.match(left) is not None, _HANGUL.match(right) is not None
    return of_left is not of_right or (of_left and at_end)


def _is_letter(char: str) -> bool:
    return char.isalnum() and unicodedata.category(char) != "No"


def _is_word(char: str) -> bool:
    return _is_letter(char) or unicodedata.category(char)[0] == "M"
