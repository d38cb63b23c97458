"""What the clauses of a remark say of the directions in them: wanted, unwanted, or just told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.tokens import Token, Way

_SPLITS = frozenset(
    ("but", "because", "while", "whereas", "however", "although", "though", "so", "then", "yet", "until", "before", "cause")
)
_NARRATIVE = frozenset(("when", "where"))
_KEPT_OUT = roles.FAIR


@dataclass
class Clause:
    """
    A clause.

    :param opens: The sign or word before it
    :param tokens: Its words
    """

    opens: str
    tokens: list[Token] = field(default_factory=list)
    closes: str = ""

    @property
    def has_mention(self) -> bool:
        return any(token.role == roles.MENTION for token in self.tokens)


class Mention(NamedTuple):
    """
    A direction that is spoken of.

    :param ways: The directions that its word names
    :param dimension: The dimension named beside it
    :param polarity: 1 for more of it, -1 for less, 0 for neither
    :param mood: "told", "asked", "bare" or "state"
    :param doubt: A factor of confidence
    """

    ways: tuple[Way, ...]
    dimension: int | None
    polarity: int
    mood: str
    doubt: float
    word: str = ""
    is_negated: bool = False


def clauses_of(tokens: list[Token]) -> list[Clause]:
    """
    :param tokens: A remark
    :return: Its clauses
    """
    clauses = [Clause("")]
    for index, token in enumerate(tokens):
        role, word = token.role, token.word
        if role in ",.?":
            clauses[-1].closes = clauses[-1].closes or role
            if role == "?" and not clauses[-1].tokens and len(clauses) > 1:
                clauses[-2].closes = "?"
            if clauses[-1].tokens:
                clauses.append(Clause(role))
            elif role != ",":
                clauses[-1].opens = role
        elif (
            (word in _SPLITS or word in _NARRATIVE)
            and role != roles.MENTION
            and not (word == "so" and _is_degree(tokens, index))
        ):
            if clauses[-1].tokens:
                clauses.append(Clause(word))
            else:
                clauses[-1].opens = word
        elif role == roles.AND and _starts_a_clause(tokens, index):
            clauses.append(Clause("and"))
        else:
            clauses[-1].tokens.append(token)
    return [clause for clause in clauses if clause.tokens]


def _is_degree(tokens: list[Token], index: int) -> bool:
    before, after = tokens[index - 1 : index], tokens[index + 1 : index + 2]
    return bool(before and before[0].role in "nBhvM" or after and after[0].role in "jwp" and after[0].role != "M")


def _starts_a_clause(tokens: list[Token], index: int) -> bool:
    following = tokens[index + 1 : index + 4]
    before = [token.role for token in tokens[max(index - 4, 0) : index]]
    return bool(following) and not (
        following[0].role == roles.MENTION and before[-1:] == [roles.MENTION] and _same_dimension(tokens, index)
    )


def _same_dimension(tokens: list[Token], index: int) -> bool:
    first, second = tokens[index - 1].ways, tokens[index + 1].ways
    return bool({way[0] for way in first} & {way[0] for way in second})


class Sides(NamedTuple):
    """What stands on one side of a mention."""

    is_negated: bool
    verdict: int


def _scan(codes: str) -> Sides:
    """Praise and blame in order, each turned around by a negation before it, which is used up."""
    is_negated, verdict = False, 0
    for code in codes:
        if code in "na":
            is_negated = not is_negated
        elif code in "pq":
            value = 1 if code == "p" else -1
            verdict += -value if is_negated else value
            is_negated = False
        elif code == "W":
            verdict -= 1
    return Sides(is_negated, (verdict > 0) - (verdict < 0))


_STATE = re.compile(r"(?:^|[^vghdY])[suOIo][^vghdYkx]*[BS]|[su].*S|B[^Mvghdn]*s|^[Ys2]*BS|^3?BS|^S")
_TOLD = re.compile(r"(?:^|[^2])[db]|Y[^h]*[gkHK]")
_FIRST_PERSON = re.compile(r"^[^YHvhgp]*O[nK]*$|(?:^|[^YH])[IO][nuK]*[du]|^[u][u]*[dgK]")
_ATTRIBUTES = frozenset(("left", "right", "back", "front", "upper", "lower", "port", "starboard", "left-hand", "right-hand"))


def codes_of(tokens: list[Token]) -> str:
    """
    :param tokens: Words
    :return: Their parts, without those that are just grammar
    """
    return "".join(token.role for token in tokens if token.role != roles.FAIR)


class MentionReader:
    """Reads the directions of one clause."""

    def __init__(self, clause: Clause, following: str, has_subject_you: bool) -> None:
        self.tokens = clause.tokens
        self.clause = clause
        self.codes = codes_of(clause.tokens)
        self.following = following
        self.positions = [index for index, code in enumerate(self.codes) if code == roles.MENTION]
        self.dimension = next((token.dimension for token in clause.tokens if token.dimension is not None), None)
        self._told_before = has_subject_you

    def read(self) -> list[Mention]:
        """What the clause says of each."""
        mentions = [token for token in self.tokens if token.role == roles.MENTION]
        found: list[Mention] = []
        start = 0
        for number, (token, position) in enumerate(zip(mentions, self.positions, strict=True)):
            end = self.positions[number + 1] if number + 1 < len(mentions) else len(self.codes)
            left = self.codes[start:position]
            right = self.codes[position + 1 : end]
            if number + 1 < len(mentions):
                right, start = _split_between(right, position)
            found.append(self._one(token, left, right, number, found))
        return _compared(
            found,
            [self.codes[a + 1 : b] for a, b in zip(self.positions, self.positions[1:], strict=False)],
            self.codes,
            self.positions,
        )

    def _one(self, token: Token, left: str, right: str, number: int, earlier: list[Mention]) -> Mention:
        is_question = (
            re.match("[hB]nY|nYH", left) is not None or self.clause.closes == "?" and re.match("[hB]n|nY", left) is not None
        )
        if is_question:  # "shouldn't it be left?"
            left = left.replace("n", "", 1)
        if "H" in left:  # "she says that ..."
            said = left.rindex("H")
            left = ("n" if re.search("n[^I]*$", left[:said]) else "") + left[said + 1 :]
        if any(other.word == "wrong-way" for other in self.tokens):
            left, right = left.replace("T", "q"), right.replace("T", "q")
        if "R" in left and not earlier:
            left = left.replace("R", "n", 1)
        before, after = _scan(left), _scan(right)
        around = left + "M" + right
        dimension = token.dimension if token.dimension is not None else self.dimension
        mood = self._mood(left, right, token)
        if earlier and not re.search("[vgdYIhB]", left):
            mood = earlier[-1].mood
        is_negated, verdict = before.is_negated, before.verdict or after.verdict
        if "p" in left and "v" == left[left.rindex("p") + 1 : left.rindex("p") + 2] and mood == "asked":
            verdict = min(verdict, 0)
        polarity = self._polarity(left, right, is_negated, verdict, mood)
        doubt = 1.0
        if mood == "state":
            polarity, doubt = 0, 0.0
        elif mood == "story":
            doubt = 0.15
        if earlier and not left.strip("A") and polarity:
            previous = earlier[-1]
            if previous.is_negated and previous.mood == mood or (previous.polarity < 0 and "A" in left):
                polarity = previous.polarity
        return Mention(token.ways, dimension, polarity, mood, doubt, token.word, is_negated)

    def _mood(self, left: str, right: str, token: Token) -> str:
        codes = left
        if "h" not in codes and "F" not in codes and "U" not in codes:
            if (
                _STATE.search(codes)
                and not re.search("[hvkxle]", codes)
                and not (_is_past(token.word) and re.search("[xle]", right))
            ):
                return "state"
            if re.search("J[^vghd]*Bk?$", codes) and not re.search("[xlenpq]", codes + right):
                return "state"
            if (
                token.word in _ATTRIBUTES
                and re.match("[Ls]", right)
                and not (self.codes == "ML")
                and not re.search("[vgdhpqnabxKFU]", codes + right[1:] + self.following)
            ):
                return "state"
            if re.search("Y[^dv]*B", codes) and not re.search("[xlenkmpqdghb]", codes + right):
                return "state"
            if re.match("[su]+(?:[^YvgdhM]*)$", codes) and right.startswith("B") and not re.search("[xlepq]", right):
                return "state"
            if re.match("[^YvhdgIFUWnkxleaqp]*[sL][^hJ]*$|B[^YnqphM]*g", codes) and not (
                _is_past(token.word) and re.search("[xle]", right)
            ):
                return "state"
            if "J" in codes and "S" in codes:
                return "state"
            if re.search("s[^hM]*B", codes) and "x" in codes and not re.search("[JYd]", codes):
                return "state"
        if "h" in codes or "F" in codes or "U" in codes:
            return "asked"
        if _FIRST_PERSON.search(codes) and not re.search("[Y]", codes):
            return "story"
        if (
            re.search("[db]", codes)
            or (re.search("Y", codes) and re.search("[gB1]|a", codes))
            or len(self.codes) > 1
            and _is_past(token.word)
            and re.search("^[^v]*(Y|J|B|u)|^$", codes)
        ):
            return "told"
        if "1" in codes and "n" in codes:
            return "told"
        if "Y" in codes and re.search("^[YHA]*[n]*$", codes):
            return "told" if "n" in codes else "bare"
        if self._told_before and not re.search("v", codes):
            return "told"
        if re.search("v", codes) and not re.search("[Y]v", codes):
            return "asked"
        return "bare"

    def _polarity(self, left: str, right: str, is_negated: bool, verdict: int, mood: str) -> int:
        far = left + right
        if "l" in left or "l" in right:
            return 1
        if "e" in far:
            if "n" in far:
                return 1
            if "e" in left:
                return -1
        words = {other.word for other in self.tokens}
        if mood == "told" and words & {"only", "just"} and re.match("J?[zw]", right) and "m" not in right:
            return 1
        if re.search("h.*[ky]", right):
            return -1
        if re.search("h.*[mr]$", right):
            return 1
        if mood != "asked" and re.search("[mrj]t[^M]*$", right):
            return -1
        if "x" in far:
            if "n" in right and right.index("n") < right.find("x"):
                return 1
            return -1
        if re.search("[na][^M]*j", right) or re.search("[na].*j$", left):
            return -1
        if "U" in left:
            is_negated = not is_negated
        if re.search("k[vg]?$|k[^M]*$", left) and "k" in left or right.startswith("k"):
            is_negated = not is_negated
        if mood == "told":
            if is_negated or "b" in left:
                return -1 if verdict > 0 else 1
            return -1 if verdict < 0 else 1
        sign = -1 if is_negated else 1
        if verdict < 0 and (
            mood != "asked" or "W" in left or not re.fullmatch("[^FUh2]*v?[^2]*", left) or "q" in left + right
        ):
            sign = -sign
        return sign


def _is_past(word: str) -> bool:
    return word.endswith("ed") or word in ("shut", "spread", "cut", "put", "set")


def _split_between(between: str, position: int) -> tuple[str, int]:
    """What stands between two mentions belongs to the second from its first verb, negation or like on."""
    match = re.search("[nabhvdgYIWFUHC]", between)
    cut = match.start() if match else len(between)
    if not match and between[-1:] in ("x", "l", "k"):
        cut = len(between) - 1
        return between, position + 1 + cut
    return between[:cut], position + 1 + cut


def _compared(mentions: list[Mention], between: list[str], codes: str, positions: list[int]) -> list[Mention]:
    """Pairs of opposite directions, where one is held against the other."""
    for number, codes_between in enumerate(between):
        first, second = mentions[number], mentions[number + 1]
        if not _are_opposite(first, second):
            continue
        before = codes[: positions[number]]
        kind = 0
        if "R" in codes_between or "V" in codes_between:
            kind = 1
        elif "t" in codes_between:
            kind = -1 if "q" in codes_between else 1
        elif "t" in before and "R" not in before:
            kind = 0
        elif codes_between in ("2", "h2") and "h" in before:
            kind = 1
        elif set(codes_between) <= {"A"} and len(mentions) == 2:
            mentions[number], mentions[number + 1] = first._replace(polarity=0), second._replace(polarity=0)
            continue
        if kind:
            if re.search("n", before) and not re.search("[qp]", before):
                kind = -kind
            mentions[number], mentions[number + 1] = (
                first._replace(polarity=kind, mood="asked"),
                second._replace(polarity=-kind, mood="asked"),
            )
    return mentions


def _are_opposite(first: Mention, second: Mention) -> bool:
    return any((dimension, -direction) in second.ways for dimension, direction in first.ways)
