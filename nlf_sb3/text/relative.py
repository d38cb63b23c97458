"""Clauses that name no direction: "harder", "too much", "the other way"."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.text.clauses import Clause


class Relative(NamedTuple):
    """
    What a clause says of what was done.

    :param more: 1 for more of it, -1 for less, 0 for neither
    :param is_manner: Whether that is how it was done ("harder"), and not how much ("more")
    :param turns: Whether the opposite is asked for
    :param is_blamed: Whether it was too much or too little
    """

    more: int
    is_manner: bool = False
    turns: bool = False
    is_blamed: bool = False


_NOTHING = Relative(0)
_STATE, _JUDGED = re.compile("[su]B|S"), re.compile("[pq]")
_UNTURNED = re.compile("n[^K]*T.*K|K.*n[^K]*T")
_TOO_LITTLE, _TOO_LITTLE_OF = re.compile("l(?![pq])"), re.compile("x.*w|n.*[ew]")
_SO_MUCH = re.compile("[na].*j")
_LESS, _MORE = re.compile("[ky]"), re.compile("[mrZ]")


def read_relative(clause: Clause, codes: str, is_negated: bool) -> Relative:
    """
    :param clause: A clause without a direction
    :param codes: Its letters
    :param is_negated: Whether a negation in it is not used up by praise or blame
    :return: What it says of what was done
    """
    if "T" in codes:
        return Relative(0, turns=_UNTURNED.search(codes) is None)
    if _STATE.search(codes) and not _JUDGED.search(codes):
        return _NOTHING
    is_short = _TOO_LITTLE.search(codes) is not None
    if is_short or _TOO_LITTLE_OF.search(codes):
        return Relative(1, is_blamed=is_short or "x" in codes)
    if "x" in codes:
        return Relative(-1, is_blamed=True)
    if _SO_MUCH.search(codes):
        return Relative(-1, is_manner=True)
    if _LESS.search(codes):
        return Relative(1 if is_negated else -1, is_manner="y" in codes)
    if _MORE.search(codes):
        return Relative(-1 if is_negated else 1, is_manner="r" in codes)
    if "a" in codes and "n" not in codes and clause.dimension is not None:
        return Relative(-1)
    return _NOTHING
