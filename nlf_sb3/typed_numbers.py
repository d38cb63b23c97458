"""Numbers as people type them, read strictly: what might mean another number is asked again."""

from __future__ import annotations

import math
import re

from nlf_sb3.errors import FeedbackError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_MINUS = str.maketrans("\N{MINUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH FULL STOP}", "--+.")


def as_number(typed: str) -> float:
    """
    A finite decimal number. Digits of any script count, as float has it; underscores, hexadecimal numbers, infinity and
    numbers too large for a float don't.

    >>> as_number(" -0.5 ")
    -0.5

    :param typed: What was typed
    :return: The number
    :raises FeedbackError: If it is none
    """
    text = typed.strip().translate(_MINUS)
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isfinite(number):
        return number + 0.0  # no minus in front of 0
    comma = " Write the decimal point as a full stop." if _DECIMAL_COMMA.fullmatch(text) else ""
    raise FeedbackError(f"got {typed.strip()!r:.40}, expected a number such as 0.5.{comma}")


def as_whole_number(typed: str) -> int:
    """
    :param typed: What was typed
    :return: The whole number
    :raises FeedbackError: If it is none, or too large for a float to tell it from the next
    """
    number = as_number(typed)
    if number != int(number) or abs(number) > 2**53:
        raise FeedbackError(f"got {typed.strip()!r:.40}, expected a whole number such as 3.")
    return int(number)
