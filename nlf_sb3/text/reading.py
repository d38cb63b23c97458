"""Read one remark by rules: which way, more or less of the same, praise or blame, and how much of it was understood."""

from __future__ import annotations

import re

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text import lexicon as words
from nlf_sb3.text.clauses import ACTING, Clause, Reading, Tally, Way

_MAX_CHARACTERS = 600
_DASHES = "\N{EN DASH}\N{EM DASH}"
_TOKEN = re.compile(rf"[a-z][a-z'-]*|[0-9]+|[.,;:!?()\n{_DASHES}]|[^\s]")
_STOPS = frozenset(".,;:!?()\n-" + _DASHES)
_GRAMMAR, _TELLING, _BREAK, _STOP = 1, 2, 4, 8
"""Traits of a word: it is grammar, it changes what its clause says, it ends a clause, and it is a sign and no word."""
_CONTRAST = frozenset(("but", "instead", "then", "because", "while", "whereas", "however"))


class Reader:
    """
    Reads remarks about actions of one space.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        self._ways: dict[str, list[Way]] = {}
        self._named: dict[str, int] = {}
        self._phrases: dict[str, str] = dict(words.IDIOMS)
        self._quantities: set[int] = set()
        for index, dimension in enumerate(names.dimensions):
            name = self._as_one_word(dimension.name)
            for form in (name, name + "s", name + "ing"):
                self._named.setdefault(form, index)
            for direction, several in ((-1, dimension.low), (1, dimension.high)):
                for word in several:
                    self._add_forms(self._as_one_word(word), (index, direction))
            for verbs, direction, known in ((words.RAISE, 1, words.UP_WORDS), (words.LOWER, -1, words.DOWN_WORDS)):
                if known & set(dimension.high if direction > 0 else dimension.low):
                    self._quantities.add(index)
                    for word in (*verbs, "high" if direction > 0 else "low"):
                        self._add(word, (index, direction))
        self._idioms: dict[str, list[tuple[list[str], list[str]]]] = {}
        for idiom in sorted(self._phrases, key=len, reverse=True):
            parts = _tokens(idiom)
            self._idioms.setdefault(parts[0], []).append((parts, self._phrases[idiom].split()))
        names_and_ways = self._ways.keys() | self._named.keys()
        telling = ACTING | words.WAYS | names_and_ways  # "the same way" acts when its clause is closed
        self._traits = {
            token: (_GRAMMAR if token in words.GRAMMAR - names_and_ways else 0) | (_TELLING if token in telling else 0)
            for token in _KNOWN | names_and_ways
        }
        self._traits.update({token: _BREAK | (_STOP if token in _STOPS else 0) for token in _BREAKS})
        self._telling = ACTING | names_and_ways
        self._only_acting = ACTING - names_and_ways
        self._plain_ways = self._ways.keys() - _COMPARATIVES
        self._own: dict[str, list[str]] = {}
        for word in sorted(word for word in {*self._ways, *self._named} if len(word) > 3):
            self._own.setdefault(word[0], []).append(word)

    def _as_one_word(self, name: str) -> str:
        name = name.lower().strip()
        joined = "-".join(_tokens(name))
        if joined != name:
            self._phrases[name] = joined
        return joined

    def _add_forms(self, word: str, way: Way) -> None:
        forms = [word, word + "ward", word + "wards", word + "most"]
        if word.endswith("ward"):
            forms.append(word + "s")
            if word != "forward":
                forms.append(word[:-4])
        for form in forms:
            self._add(form, way)

    def _add(self, word: str, way: Way) -> None:
        ways = self._ways.setdefault(word, [])
        if way not in ways:
            ways.append(way)

    def read(self, text: str) -> Reading:
        """
        :param text: A remark
        :return: What it says
        """
        tokens = self._without_idioms(_tokens(text[:_MAX_CHARACTERS]))
        tally = Tally()
        clause: list[str] = []
        traits_of = self._traits.get
        n_unknown = n_stops = n_grammar = tells = 0
        for token in tokens:
            traits = traits_of(token)
            if traits is None:
                token = self._spelt(token)
                traits = traits_of(token)
                if traits is None:
                    n_unknown += 1
                    traits = 0
                clause.append(token)
                tells |= traits & _TELLING
            elif traits & _BREAK:
                n_stops += bool(traits & _STOP)
                if tells:
                    self._read_clause(clause, tally)
                clause = []
                tells = 0
            else:
                n_grammar += traits & _GRAMMAR
                tells |= traits & _TELLING
                clause.append(token)
        if tells:
            self._read_clause(clause, tally)
        n_words = len(tokens) - n_stops
        n_telling = n_words - n_grammar
        understood = 1 - n_unknown / n_telling if n_telling else 0.0
        if len(text) > _MAX_CHARACTERS:
            understood *= _MAX_CHARACTERS / len(text)
        return tally.as_reading(understood, n_words)

    def _without_idioms(self, tokens: list[str]) -> list[str]:
        """Tokens with every idiom in the one word that it means."""
        idioms = self._idioms
        for start, token in enumerate(tokens):
            for parts, meaning in idioms.get(token, ()):
                if tokens[start : start + len(parts)] == parts:
                    return [*tokens[:start], *meaning, *self._without_idioms(tokens[start + len(parts) :])]
        return tokens

    def _spelt(self, token: str) -> str:
        """An unknown word as the name that it is a form or a slip of, if it is one."""
        if len(token) < 4:
            return token
        if token.endswith("'s"):
            token = token[:-2]
        for word in self._own.get(token[0], ()):
            if _is_slip(token, word):
                return word
        return token

    def _read_clause(self, clause: list[str], tally: Tally) -> None:
        state = Clause(clause, tally)
        has_plain_way = not self._plain_ways.isdisjoint(clause)
        telling, only_acting = self._telling, self._only_acting
        for index, token in enumerate(clause):
            if token not in telling:
                continue
            if token in only_acting:
                state.take(token, index)
                continue
            dimension = self._named.get(token)
            if dimension is not None:
                state.dimension = dimension
                if tally.dimension is None or not (state.negated or state.instead):
                    tally.dimension = dimension
            ways = self._ways.get(token)
            if ways is not None and has_plain_way and token in _COMPARATIVES:
                ways = None
            if ways is not None and token == "right" and _means_correct(clause, index):
                state.judge(1)
            elif ways is not None and not (token == "left" and index and clause[index - 1] in ("time", "nothing", "what's")):
                state.mention(ways)
            elif dimension is None and token in ACTING:
                state.take(token, index)
        state.close(self._quantities)


def _tokens(text: str) -> list[str]:
    """Words, numbers and signs, in lower case."""
    return _TOKEN.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def _is_slip(token: str, word: str) -> bool:
    """Whether letters of a word changed places, or one is missing or too many."""
    if abs(len(token) - len(word)) > 1:
        return False
    if len(token) == len(word):
        return sorted(token) == sorted(word)
    short, long = sorted((token, word), key=len)
    letters = iter(long)
    return all(letter in letters for letter in short)


def _means_correct(clause: list[str], index: int) -> bool:
    """Whether "right" is praise here, and no side."""
    before = clause[index - 1] if index else ""
    following = clause[index + 1] if index + 1 < len(clause) else ""
    if following in words.AFTER_CORRECT and before != "to":
        return True
    if before == "not":
        return index > 1 and clause[index - 2] in words.BEFORE_CORRECT
    return before in words.BEFORE_CORRECT and not following.startswith("of")


_COMPARATIVES = words.STRONGER | words.WEAKER
_NARRATIVE = frozenset(("when", "where", "though", "yet", "if", "and"))
_BREAKS = _CONTRAST | _NARRATIVE | _STOPS
_KNOWN = ACTING | words.WAYS | words.COMMON | words.GRAMMAR | _CONTRAST | _NARRATIVE | {"supposed"}
