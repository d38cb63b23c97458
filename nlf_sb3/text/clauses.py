"""What the clauses of a remark say, word by word, and what they add up to."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import NamedTuple

from nlf_sb3.text import lexicon as words

Way = tuple[int, int]
"""A dimension and a direction, -1 or 1."""


class Reading(NamedTuple):
    """
    What one remark says, whatever was done.

    :param ways: Which way to go, for each dimension spoken of: more than 0 for up, less for down
    :param told: Directions that the remark says were taken, by dimension; 0 where it says none
    :param dimension: The dimension named; None if none is
    :param more: 1 if it asks for more of what was done, -1 for less, 0 for neither
    :param turns: Whether it asks for the opposite of what was done
    :param valence: Praise minus blame
    :param size: -1 for a bit, 1 for a lot, 0 for neither
    :param understood: The share of its words that are known
    :param n_words: How many words it has
    """

    ways: dict[int, int]
    told: dict[int, int]
    dimension: int | None
    more: int
    turns: bool
    valence: int
    size: int
    understood: float
    n_words: int


class Tally:
    """What the clauses of a remark add up to."""

    dimension: int | None = None
    more = 0
    turns = False
    valence = 0
    size = 0
    force = 0
    keeps = False

    def __init__(self) -> None:
        self.ways: dict[int, int] = {}
        self.told: dict[int, int] = {}
        self.unnamed: list[tuple[list[Way], int, bool]] = []

    def as_reading(self, understood: float, n_words: int) -> Reading:
        for ways, polarity, is_told in self.unnamed:
            self.place(ways, polarity, is_told, self.dimension)
        valence = self.valence + (self.keeps and self.valence == 0)
        size = self.size or (self.force if self.ways else 0)  # "push right, harder"
        return Reading(self.ways, self.told, self.dimension, self.more, self.turns, valence, size, understood, n_words)

    def place(self, ways: list[Way], polarity: int, is_told: bool, dimension: int | None) -> None:
        fitting = [way for way in ways if way[0] == dimension] or ways
        kept = self.told if is_told else self.ways
        for index, direction in fitting:
            kept[index] = kept.get(index, 0) + polarity * direction


class Clause:
    """One clause as it is read, word by word."""

    dimension: int | None = None
    negated = False
    excess = False
    lacking = False
    instead = False
    weaker = False
    stronger = False
    gentle = False
    forceful = False
    judgement = 0
    _is_past = False
    _is_advice = False
    _turned = False

    def __init__(self, clause: list[str], tally: Tally) -> None:
        self._clause = clause
        self._tally = tally
        self._mentions: list[tuple[list[Way], int]] = []

    def judge(self, value: int) -> None:
        """Praise or blame, turned around by a negation before it, which is used up."""
        self.judgement += -value if self.negated else value
        self.negated = False

    def mention(self, ways: list[Way]) -> None:
        """A direction is spoken of."""
        polarity = 1
        if self.instead or self.negated or self.weaker or (self.excess and not self.lacking):
            polarity = -1
        if self.lacking:
            polarity = 1
        self._mentions.append((ways, polarity))
        self.instead = False

    def take(self, token: str, index: int) -> None:
        """Any other word."""
        flag = _FLAGS.get(token)
        if flag is not None:
            setattr(self, flag, True)
            return
        clause = self._clause
        following = clause[index + 1] if index + 1 < len(clause) else ""
        if token in words.NEGATORS or (token in ("no", "nothing") and following and following not in ("that's", "you", "it")):
            self._tally.keeps |= self.negated  # "don't stop"
            self.negated = not self.negated
        elif token in ("why", "why'd"):
            self.judgement -= 1
        elif token == "insteadof":
            self.instead = True
        elif token in words.EXCESS and (following or token != "too"):  # not "you too"
            self.excess = True
            self.lacking = token == "too" and following in words.LACKING
            self.judgement -= 1
        elif token == "enough" and self.negated:
            self.lacking, self.negated = True, False
        elif token in words.OPPOSITE and (following in words.WAYS or token in ("opposite", "reverse", "contrary")):
            self._turned = not self.negated
            self.judgement -= token == "wrong"
        else:
            self._take_plain(token, following)

    def _take_plain(self, token: str, following: str) -> None:
        if token in words.PRAISE and not (token in ("like", "liked", "better", "well") and following in _NOT_PRAISE):
            self.judge(0 if self._is_advice and token in ("better", "best") else 1)
        elif token in words.BLAME:
            self.judge(-1)
        if token in words.KEEP:
            self._tally.keeps |= not self.negated
        if token in words.LACKING and self.negated and token not in ("little", "short", "late"):
            self.lacking, self.negated = True, False
        self.weaker |= token in words.WEAKER
        self.gentle |= token in words.GENTLY
        self.forceful |= token in words.FORCEFULLY
        self.stronger |= token in words.STRONGER or (token in words.STRONG and self.negated)
        self._is_past |= token in words.PAST
        self._is_advice |= token in words.ADVICE
        if token in words.SIZE_SMALL and not self.excess:
            self._tally.size = -1
        elif token in words.SIZE_LARGE and not (self.excess or self.negated or self._tally.size):
            self._tally.size = 1

    def close(self, quantities: set[int]) -> None:
        """
        Add the clause to what the remark says.

        :param quantities: Dimensions of which there can be more and less, whatever was done
        """
        tally = self._tally
        tally.valence += (self.judgement > 0) - (self.judgement < 0)
        if not self._mentions:
            self._close_without_mention(quantities)
            return
        # "Going left was wrong" turns its mention around; "too far left" has done so already.
        turned = -1 if self.judgement < 0 and not self.excess else 1
        is_told = self._is_past and not self._is_advice and self.judgement == 0 and not tally.keeps
        if self.forceful and not (self.negated or tally.size):
            tally.size = 1
        for ways, polarity in self._mentions:
            told = is_told and polarity > 0
            if self.dimension is None and len({dimension for dimension, _ in ways}) > 1:
                tally.unnamed.append((ways, polarity * turned, told))
            else:
                tally.place(ways, polarity * turned, told, self.dimension)

    def _close_without_mention(self, quantities: set[int]) -> None:
        tally = self._tally
        tally.turns |= self._turned
        more = 0
        if self.lacking:
            more = 1
        elif self.excess:
            more = -1
        elif self.weaker or self.gentle or self.stronger:
            asked = -1 if self.weaker or self.gentle else 1
            more = tally.force = -asked if self.negated or (self.judgement < 0) else asked
        elif not self._turned and (self.judgement > 0 or tally.keeps) and not words.WAYS.isdisjoint(self._clause):
            more = 1  # "the correct side", "same direction again"
        if more and self.dimension in quantities:
            tally.place([(self.dimension, 1)], more, False, self.dimension)
        else:
            tally.more = more or tally.more


_FLAG_WORDS = {"_is_past": words.PAST, "_is_advice": words.ADVICE, "weaker": words.WEAKER, "stronger": words.STRONGER}
_ROLES = (
    *_FLAG_WORDS.values(), words.NEGATORS, words.PRAISE, words.BLAME, words.EXCESS, words.LACKING, words.STRONG,
    words.SIZE_SMALL, words.SIZE_LARGE, words.KEEP, words.OPPOSITE, words.GENTLY, words.FORCEFULLY,
    frozenset(("no", "nothing", "insteadof", "enough", "why", "why'd")),
)  # fmt: skip
ACTING = frozenset().union(*_ROLES)
_N_ROLES = Counter(chain.from_iterable(_ROLES))
_FLAGS = {word: flag for flag, several in _FLAG_WORDS.items() for word in several if _N_ROLES[word] == 1}
"""Words that do nothing but set a flag of their clause: a short way through :meth:`Clause.take`."""
_NOT_PRAISE = frozenset(("that", "this", "so", "a", "the", "to", "go", "of", "an", "it"))
