"""A remark as words that each play a part: directions, names of dimensions, negations, praise and so on."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.idioms import IDIOMS, WHOLE_IDIOMS
from nlf_sb3.text.normalise import ARROWS, normalise
from nlf_sb3.text.senses import OTHER, SAME_SENSES, sense_patterns

Way = tuple[int, int]
"""A dimension and a direction, -1 or 1."""
_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*'?|\d+(?:[.,]\d+)?|[.,;:!?()/\n-]+|[\u2190-\u2193+]")
_WORD = re.compile(r"[^\W_]+")
_DOUBLED = re.compile(r"(.)\1")
_CORRECT_SENSE = re.compile(
    r"\b(?:was|is|that's|thats|it's|its|were|just|exactly|quite|all|absolutely|totally|dead|got|gets|seems|looks|looked|felt|(?:is|was|are|were|'s) not|"
    r"are|you're|i'm|he's|she's|being|doing it|get it|that one|turned out) right\b(?! enough| of\b| side\b|-)(?! (?:turn|push|move))"
    r"|\bright (?=(?:way|idea|thing|call|choice|move|direction|decision|one|amount|answer|instinct|track|action|reaction|response|thinking|"
    r"stuff|step|approach|balance|option|size|to (?:push|go|move|turn|raise|lower|open|close|lift|do|turn)|you are|about)\b(?! (?:is|was|would) (?:better|superior)))"
)
_NOT_CORRECT = re.compile(r"\b(?:it is|it's) right\b(?=,? not)|\b(?:left|no),? (?:it's|it is) right$")


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


class Tokenizer:
    """
    Splits remarks about actions of one space.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        self.quantities: set[int] = set()
        self._phrases: dict[str, str] = {normalise(idiom): meaning for idiom, meaning in IDIOMS.items()}
        self._ways: dict[str, list[Way]] = {}
        self._named: dict[str, int] = {}
        for index, dimension in enumerate(names.dimensions):
            name = self._as_one_word(dimension.name)
            for form in (name, name + "s", name + "ing", name + "ed", name + "'s"):
                self._named.setdefault(form, index)
        chosen: set[str] = set()
        for index, dimension in enumerate(names.dimensions):
            for direction, several in ((-1, dimension.low), (1, dimension.high)):
                for word in several:
                    chosen.add(word.lower().strip())
                    for form in _forms(self._as_one_word(word)):
                        self._add(form, (index, direction))
            if {word.lower() for word in (*dimension.low, *dimension.high)} & _AMOUNTS:
                self.quantities.add(index)
        for index, dimension in enumerate(names.dimensions):
            for direction, several in ((-1, dimension.low), (1, dimension.high)):
                for word in several:
                    for other in SAME_SENSES.get(word.lower().strip(), "").split():
                        if other not in self._ways or {way[1] for way in self._ways[other]} == {direction}:
                            self._add(other, (index, direction))
                            if "-" in other:
                                self._phrases.setdefault(other.replace("-", " "), other)
        self._own_names = {part for dimension in names.dimensions for part in _WORD.findall(normalise(dimension.name))}
        self._senses = sense_patterns(self._ways.keys() & _AMBIGUOUS)
        self._has_right = "right" in self._ways
        self._table = {word: Token(role, word) for word, role in roles.role_of_words().items()}
        self._comparatives = {word: self._table[word] for word in _COMPARATIVES}
        for word, index in self._named.items():
            known = self._table.get(word)
            role = known.role if known is not None and known.role in "vgd" else roles.NAMED
            self._table[word] = Token(role, word, (), index)
        for word, ways in self._ways.items():
            self._table[word] = Token(roles.MENTION, word, tuple(ways), self._named.get(word))
        self._table["othersense"] = Token(roles.OTHER_SENSE, "othersense")
        self._index_phrases()
        own = sorted(word for word in {*self._ways, *self._named} if len(word) > 3)
        self._own = {first: [word for word in own if word[0] == first] for first in {word[0] for word in own}}

    def _as_one_word(self, name: str) -> str:
        name = normalise(name.strip())
        joined = "-".join(_WORD.findall(name)) or name
        if joined != name:
            self._phrases[name] = joined
            self._phrases[" ".join(_TOKEN.findall(name))] = joined
        return joined

    def _add(self, word: str, way: Way) -> None:
        ways = self._ways.setdefault(word, [])
        if way not in ways:
            ways.append(way)

    def _index_phrases(self) -> None:
        known = roles.role_of_words()
        own = {*self._ways, *self._named}
        self._idioms: dict[str, list[tuple[list[str], list[str], bool]]] = {}
        whole = {normalise(idiom): meaning for idiom, meaning in WHOLE_IDIOMS.items()}
        for idiom, meaning, is_whole in sorted(
            [(*item, False) for item in self._phrases.items()] + [(*item, True) for item in whole.items()],
            key=lambda item: (-len(item[0]), not item[2]),
        ):
            parts = _TOKEN.findall(idiom)
            is_own = meaning in own
            if not is_own and (parts[0] in own or parts[-1] in own and known.get(parts[0], "v") in "vK"):
                continue
            self._idioms.setdefault(parts[0], []).append((parts, [meaning] if is_own else meaning.split(), is_whole))

    def tokens(self, text: str) -> list[Token]:
        """
        :param text: A remark
        :return: Its words and signs
        """
        text = normalise(text)
        is_named = bool(self._senses) and not self._own_names.isdisjoint(_WORD.findall(text))
        for word, pattern in self._senses.items():
            if word in text and not (is_named and word in _PARTICLES):
                text = pattern.sub(OTHER, text)
        if "right" in text:
            if not (self._has_right and _NOT_CORRECT.search(text)):
                text = _CORRECT_SENSE.sub(_as_correct, text)
        words = self._without_idioms(_TOKEN.findall(text))
        table = self._table.get
        found = _joined([table(word) or self._unlisted(word) for word in words])
        if any(token.ways and token.word not in _COMPARATIVES for token in found):  # "less heat", but "less down"
            found = [self._comparatives[token.word] if token.word in _COMPARATIVES else token for token in found]
        if "\u2190" <= max(text, default="") and any(letter in ARROWS for letter in text):
            found = _without_arrows(found)
        return found

    def _without_idioms(self, words: list[str]) -> list[str]:
        """Words with every idiom in those that it means."""
        out: list[str] = []
        start, idioms = 0, self._idioms
        while start < len(words):
            word = words[start]
            for parts, meaning, is_whole in idioms.get(word, ()):
                end = start + len(parts)
                if words[start:end] == parts and not (is_whole and not self._is_clause(words, start, end)):
                    out += meaning
                    start = end
                    break
            else:
                out.append(word)
                start += 1
        return out

    def _is_clause(self, words: list[str], start: int, end: int) -> bool:
        """Whether nothing but signs, and words that are just grammar, stand around."""
        for side in (reversed(words[:start]), words[end:]):
            for word in side:
                if not word[0].isalnum():
                    break
                token = self._table.get(word)
                if token is None or token.role != roles.FAIR:
                    return False
        return True

    def _unlisted(self, word: str) -> Token:
        """A sign, a number, a form or a slip of a known word, or an unknown word."""
        first = word[0]
        if not first.isalnum():
            return Token("," if set(word) <= {",", "-", "/"} else "?" if "?" in word else ".", word)
        if first.isdigit():
            return Token("#", word)
        if word in self._ways and word in self._table:
            return self._table[word]
        for form in (
            word.rstrip("'"),
            word.removesuffix("'s"),
            word.replace("-", ""),
            word.split("-")[0],
            _DOUBLED.sub(r"\1", word),
        ):
            token = self._table.get(form)
            if token is not None and form:
                return token
        if len(word) > 2:
            for own in self._own.get(first, ()):
                if _is_slip(word, own):
                    return self._table[own]._replace(word=word)
        return Token(roles.UNKNOWN, word)


def _joined(tokens: list[Token]) -> list[Token]:
    """ "Too" and "little" in one, and verbs with the particle that just belongs to them: "close up the gripper"."""
    out: list[Token] = []
    for token in tokens:
        last = out[-1] if out else None
        if last is not None and last.word == "too" and token.role in ",.?":
            out[-1] = last = Token(roles.FAIR, "too")  # "you too"
        if last is not None and token.role == roles.WEAK and last.role == roles.EXCESS:
            out[-1] = Token(roles.LACK, token.word)
        elif last is not None and last.role == roles.MORE and token.role in "wyjx" and token.word != "overly":  # "more gentle"
            out[-1] = Token(roles.GENTLE if token.role in "wy" else roles.HARDER, token.word)
        elif last is not None and token.ways and last.ways == token.ways and token.dimension is None:
            continue
        elif (
            last is not None
            and token.word in ("up", "down", "out")
            and last.ways
            and token.ways
            and last.word not in _AMBIGUOUS_VERBS
        ):
            if {way[0] for way in last.ways} & {way[0] for way in token.ways}:
                out.append(token)
        else:
            out.append(token)
    if out and out[-1].word == "too":
        out[-1] = Token(roles.FAIR, "too")
    return out


def _as_correct(match: re.Match[str]) -> str:
    return match.group().replace("right", "correctly")


def _without_arrows(tokens: list[Token]) -> list[Token]:
    """Arrows count where no word names a direction."""
    if any(token.ways and token.word not in ARROWS for token in tokens):
        return [token for token in tokens if token.word not in ARROWS]
    return tokens


def _forms(word: str) -> list[str]:
    forms = [word, word + "ward", word + "wards", word + "most", word + "ed", word + "ing", word + "s"]
    if word.endswith("e"):
        forms += [word + "d", word[:-1] + "ing"]
    if word.endswith("ward"):
        forms.append(word + "s")
        if word != "forward":
            forms.append(word[:-4])
    return forms


def _is_slip(token: str, word: str) -> bool:
    """Whether letters of a word changed places, or one is missing or too many."""
    if abs(len(token) - len(word)) > 1:
        return False
    if len(token) == len(word):
        return sorted(token) == sorted(word)
    short, long = sorted((token, word), key=len)
    letters = iter(long)
    return all(letter in letters for letter in short) and not (long == token and token == word + "s")


_AMBIGUOUS = frozenset("left right up down close open back forward on off in out over high low lower raise drop lift".split())
_PARTICLES = frozenset("up down on off in out over back".split())
_COMPARATIVES = frozenset("more less harder softer stronger weaker faster slower further smaller bigger".split())
_AMBIGUOUS_VERBS = frozenset(("left", "right", "up", "down", "back", "forward"))
_AMOUNTS = frozenset(("up", "higher", "more", "upward", "down", "lower", "less", "downward"))
