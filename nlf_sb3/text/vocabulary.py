"""The words of one action space: its directions, the names of its dimensions, and what else people call them."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.idioms import IDIOMS, WHOLE_IDIOMS
from nlf_sb3.text.normalise import normalise
from nlf_sb3.text.senses import SAME_SENSES

Way = tuple[int, int]
"""A dimension and a direction, -1 or 1."""
SPLIT = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*'?|\d+(?:[.,]\d+)?|[.,;:!?()/\n-]+|[\u2190-\u2193+]")
"""Words, numbers and signs."""
_WORD = re.compile(r"[^\W_]+")
_AMOUNTS = frozenset(("up", "higher", "more", "upward", "down", "lower", "less", "downward"))


class Token(NamedTuple):
    """
    A word.

    :param role: The part that it plays, of :mod:`nlf_sb3.text.lexicon`, or the sign that it is
    :param word: The word
    :param ways: The directions that it names
    :param dimension: The dimension that it names
    """

    role: str
    word: str
    ways: tuple[Way, ...] = ()
    dimension: int | None = None


class Idiom(NamedTuple):
    """
    Words that are read as others.

    :param parts: The words
    :param meaning: What they are read as
    :param is_whole: Whether they have to be a clause by themselves
    """

    parts: list[str]
    meaning: list[str]
    is_whole: bool


class Vocabulary:
    """
    The words of one action space.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        self.ways: dict[str, list[Way]] = {}
        self.named: dict[str, int] = {}
        self.quantities: set[int] = set()
        """Dimensions of which there can be more and less."""
        self._phrases: dict[str, str] = {}
        for index, dimension in enumerate(names.dimensions):
            name = self._as_one_word(dimension.name)
            for form in (name, name + "s", name + "ing", name + "ed", name + "'s"):
                self.named.setdefault(form, index)
        directions = [
            (word, (index, direction))
            for index, dimension in enumerate(names.dimensions)
            for direction, several in ((-1, dimension.low), (1, dimension.high))
            for word in several
        ]
        for word, way in directions:
            for form in _forms(self._as_one_word(word)):
                self._add(form, way)
            if word.lower() in _AMOUNTS:
                self.quantities.add(way[0])
        for word, way in directions:
            for other in SAME_SENSES.get(word.lower().strip(), "").split():
                self._add_if_free(other, way)
        self.parts_of_names = {part for dimension in names.dimensions for part in _WORD.findall(normalise(dimension.name))}

    def _as_one_word(self, name: str) -> str:
        name = normalise(name.strip())
        joined = "-".join(_WORD.findall(name)) or name
        if joined != name:
            self._phrases[" ".join(SPLIT.findall(name))] = joined
        return joined

    def _add(self, word: str, way: Way) -> None:
        ways = self.ways.setdefault(word, [])
        if way not in ways:
            ways.append(way)

    def _add_if_free(self, word: str, way: Way) -> None:
        if {direction for _, direction in self.ways.get(word, ())} <= {way[1]}:
            self._add(word, way)
            if "-" in word:
                self._phrases.setdefault(word.replace("-", " "), word)

    def tokens(self) -> dict[str, Token]:
        """A token for each word that is known."""
        table = {word: Token(role, word) for word, role in roles.role_of_words().items()}
        for word, index in self.named.items():
            known = table.get(word)
            is_verb = known is not None and known.role in (roles.MOVE, roles.MOVING, roles.DID)
            table[word] = Token(known.role if known is not None and is_verb else roles.NAMED, word, (), index)
        for word, ways in self.ways.items():
            table[word] = Token(roles.MENTION, word, tuple(ways), self.named.get(word))
        table["othersense"] = Token(roles.OTHER_SENSE, "othersense")
        return table

    def idioms(self) -> dict[str, list[Idiom]]:
        """Idioms by their first word, the longest first: those that aren't about this space's own words, and its phrases."""
        own = {*self.ways, *self.named}
        known = roles.role_of_words()
        phrases = [Idiom(SPLIT.findall(phrase), [joined], False) for phrase, joined in self._phrases.items()]
        found: dict[str, list[Idiom]] = {}
        for idiom in sorted(
            [*phrases, *_general_idioms()], key=lambda idiom: (-len(" ".join(idiom.parts)), not idiom.is_whole)
        ):
            words = f" {' '.join(idiom.parts)} "
            if idiom not in phrases and any(f" {phrase} " in words for phrase in self._phrases):
                continue  # "let go of the", where letting go is a direction
            first, last = idiom.parts[0], idiom.parts[-1]
            moves = known.get(first, roles.MOVE) in (roles.MOVE, roles.AGAIN)
            if idiom.meaning[0] in own or not (first in own or (last in own and moves)):  # "go on" may be a direction
                found.setdefault(first, []).append(idiom)
        return found


@cache
def _general_idioms() -> tuple[Idiom, ...]:
    return tuple(
        Idiom(SPLIT.findall(normalise(idiom)), meaning.split(), is_whole)
        for is_whole, table in ((False, IDIOMS), (True, WHOLE_IDIOMS))
        for idiom, meaning in table.items()
    )


def _forms(word: str) -> list[str]:
    forms = [word, word + "ward", word + "wards", word + "most", word + "ed", word + "ing", word + "s"]
    if word.endswith("e"):
        forms += [word + "d", word[:-1] + "ing"]
    if word.endswith("ward"):
        forms.append(word + "s")
        if word != "forward":
            forms.append(word[:-4])
    return forms
