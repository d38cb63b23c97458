"""What a clause says of the directions in it: wanted, unwanted, or just told."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.clauses import Clause, codes_of
from nlf_sb3.text.comparison import Mention, settle_comparisons
from nlf_sb3.text.moods import ASKED, STATE, STORY, TOLD, Sides, mood_of
from nlf_sb3.text.vocabulary import Token

_STORY_DOUBT = 0.15
_QUESTION = re.compile("hnY|BnYg|nYH")
_QUESTION_BY_SIGN = re.compile("[hB]n|nY")
_SECOND_STARTS = re.compile("[nabhvdgYIWFUHC]")


_UNASKED = re.compile("3[^MBvg]*nh$")
"""Which nobody asked for."""


class Verdict(NamedTuple):
    """
    What some words judge.

    :param is_negated: Whether they end with a negation that is not used up
    :param value: 1 for praise, -1 for blame, 0 for neither
    """

    is_negated: bool
    value: int


def judge(codes: str) -> Verdict:
    """
    Praise and blame in order, each turned around by a negation before it, which is used up.

    :param codes: Letters of :mod:`nlf_sb3.text.lexicon`
    :return: What they judge
    """
    is_negated, value = False, 0
    if not codes:
        return Verdict(False, 0)
    codes = _UNASKED.sub("q", codes)
    for code, following in zip(codes, f"{codes[1:]} ", strict=True):
        if code in "na" or (code == "l" and following in "pq"):
            is_negated = not is_negated
        elif code in "pq":
            value += 1 if (code == "p") != is_negated else -1
            is_negated = False
        elif code == "W":
            value -= 1
    return Verdict(is_negated, (value > 0) - (value < 0))


def read_mentions(clause: Clause, following: str, inherited: str | None) -> list[Mention]:
    """
    :param clause: A clause
    :param following: Letters of the clauses behind it that name no direction
    :param inherited: The mood of the clause that it is joined to; None if it isn't
    :return: Its directions
    """
    codes = codes_of(clause.tokens)
    words = {token.word for token in clause.tokens}
    if "wrong-way" in words:
        codes = codes.replace(roles.TURN, roles.BAD)
    tokens = [token for token in clause.tokens if token.role == roles.MENTION]
    places = [place for place, code in enumerate(codes) if code == roles.MENTION]
    between = [codes[first + 1 : second] for first, second in zip(places, places[1:])]  # noqa: B905, RUF007
    mentions: list[Mention] = []
    left = codes[: places[0]]
    for number, token in enumerate(tokens):
        right, next_left = _shared(between[number]) if number < len(between) else (codes[places[number] + 1 :], "")
        sides = Sides(_without_question(_heard(left), clause.closes), right, codes, following, inherited, clause.opens)
        mentions.append(_read(token, sides, mentions, clause, words))
        left = next_left
    return settle_comparisons(mentions, between, codes, places)


def _shared(between: str) -> tuple[str, str]:
    """What stands between two mentions belongs to the second from its first verb, negation or the like on."""
    match = _SECOND_STARTS.search(between)
    if match is None:
        return between, between[-1:] if between[-1:] in ("x", "l", "k") else ""
    return between[: match.start()], between[match.start() :]


def _without_question(left: str, sign: str) -> str:
    """Without the negation that just asks: "shouldn't it be left?" """
    if _QUESTION.match(left) or (sign == "?" and _QUESTION_BY_SIGN.match(left)):
        return left.replace("n", "", 1)
    return left


def _heard(left: str) -> str:
    """Without who says so: "she says that ..." """
    if roles.SAY not in left or _QUESTION.match(left):
        return left.rpartition(roles.SAY)[2]
    said, _, rest = left.rpartition(roles.SAY)
    return ("n" if re.search("n[^I]*$", said) else "") + rest


def _read(token: Token, sides: Sides, earlier: list[Mention], clause: Clause, words: set[str]) -> Mention:
    left = sides.left if earlier else sides.left.replace(roles.RATHER_THAN, roles.NOT, 1)
    sides = sides._replace(left=left)
    mood = mood_of(token, sides)
    if earlier and not re.search("[vgdYIhB]", left):
        mood = earlier[-1].mood
    dimension = token.dimension if token.dimension is not None else clause.dimension
    before = judge(left)
    if mood == STATE:
        return Mention(token.ways, dimension, 0, mood, 0.0, token.word)
    verdict = before.value or judge(sides.right).value
    if mood == ASKED and "pv" in left:  # "good, go left"
        verdict = min(verdict, 0)
    degree = _by_degree(token, sides, mood, words)
    polarity = degree or _by_denial(sides, mood, before.is_negated, verdict)
    if earlier and not left.strip("A"):
        previous = earlier[-1]
        if (previous.is_negated and previous.mood == mood) or (previous.polarity < 0 and "A" in left):
            polarity = previous.polarity
    doubt = _STORY_DOUBT if mood == STORY else 1.0
    return Mention(token.ways, dimension, polarity, mood, doubt, token.word, before.is_negated, degree != 0 or "b" in left)


_TOO_LITTLE = re.compile("l(?![pq])|nB?w[^M]*M")
_UNLIKE = re.compile("M[^M]*n[^M]*x")
_SO_MUCH = re.compile("[na][^M]*j[^M]*$|[na].*jM")
_LESS_WISHED, _MORE_WISHED = re.compile("M.*h.*[ky]"), re.compile("M.*h.*[mr]$")
_MORE_THAN, _IS_MORE_THAN = re.compile("[mrj].*t"), re.compile("M[vJ]?B[^M]*[mrj]t[^M]*$")
_LITTLE = re.compile("MJ?[zw](?!.*m)")


def _by_degree(token: Token, sides: Sides, mood: str, words: set[str]) -> int:
    """The polarity by too much and too little; 0 if neither is spoken of."""
    around = f"{sides.left}M{sides.right}"
    if _TOO_LITTLE.search(around):
        return 1
    if "e" in around:
        if "n" in around:
            return 1
        if "e" in sides.left or mood != ASKED:
            return -1
    if mood == TOLD and ("only" in words or "just" in words) and _LITTLE.search(around):
        return 1
    if _LESS_WISHED.search(around):
        return -1
    if _MORE_WISHED.search(around):
        return 1
    is_compared = mood == TOLD and token.word.endswith("er") and sides.right.startswith("t")
    if is_compared or (mood == TOLD and _MORE_THAN.search(around)) or _IS_MORE_THAN.search(around):
        return -1
    if "x" in around:
        return 1 if _UNLIKE.search(around) else -1
    return -1 if _SO_MUCH.search(around) else 0


def _by_denial(sides: Sides, mood: str, is_negated: bool, verdict: int) -> int:
    """The polarity by negation, praise and blame."""
    left, right = sides.left, sides.right
    is_negated ^= "U" in left and re.search("[Sq]", right) is None  # "without going left it falls"
    is_negated ^= left.endswith("T")  # "undo the left turn"
    is_negated ^= "k" in left or right.startswith("k")
    if mood == TOLD:
        if is_negated or "b" in left:
            return -1 if verdict > 0 else 1
        return -1 if verdict < 0 else 1
    is_negated ^= "b" in left
    is_blamed = verdict < 0 and (mood != ASKED or re.search("[WFUh2q]", left) is not None or "q" in right)
    return -1 if is_negated != is_blamed else 1
