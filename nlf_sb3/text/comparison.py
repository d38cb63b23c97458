"""Directions that a remark speaks of, and pairs of which one is held against the other."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.moods import ASKED, BARE
from nlf_sb3.text.vocabulary import Way


class Mention(NamedTuple):
    """
    A direction that is spoken of.

    :param ways: The directions that its word names
    :param dimension: The dimension named beside it
    :param polarity: 1 for more of it, -1 for less, 0 for neither
    :param mood: One of :mod:`nlf_sb3.text.moods`
    :param doubt: A factor of confidence
    :param word: Its word
    :param is_negated: Whether a negation stands before it
    :param is_judged: Whether the clause says that it was too much or too little, or that it was left undone
    """

    ways: tuple[Way, ...]
    dimension: int | None
    polarity: int
    mood: str
    doubt: float = 1.0
    word: str = ""
    is_negated: bool = False
    is_judged: bool = False


def settle_comparisons(mentions: list[Mention], between: list[str], codes: str, places: list[int]) -> list[Mention]:
    """Pairs of opposite directions, where one is held against the other."""
    for number, middle in enumerate(between):
        first, second = mentions[number], mentions[number + 1]
        if not any((dimension, -direction) in second.ways for dimension, direction in first.ways):
            continue
        before = codes[: places[number]]
        if middle.strip("A") == "" and len(mentions) == 2 and roles.THAN not in before:
            polarities = (0, 0)  # "left and right"
        else:
            winner = _winner(before, middle)
            if not winner:
                continue
            polarities = (winner, -winner)
        for which, mention, polarity in ((number, first, polarities[0]), (number + 1, second, polarities[1])):
            mentions[which] = mention._replace(polarity=polarity, mood=ASKED if polarity else BARE)
    return mentions


def _winner(before: str, between: str) -> int:
    """1 if the first of two directions is wanted, -1 if the second is, 0 if they aren't compared."""
    if roles.RATHER_THAN in between or roles.OVER in between:
        winner = 1
    elif roles.THAN in between:
        winner = -1 if (roles.BAD in between) != (roles.LESS in between) else 1
    elif between in ("2", "h2") and roles.ASK in before:
        winner = 1
    else:
        return 0
    return -winner if "n" in before and not re.search("[qp]", before) else winner
