"""A remark as words that each play a part: directions, names of dimensions, negations, praise and so on."""

from __future__ import annotations

import re

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.normalise import ARROWS, normalise
from nlf_sb3.text.senses import AMBIGUOUS, CORRECT_SENSE, NOT_CORRECT, OTHER, PRAISE, sense_patterns
from nlf_sb3.text.vocabulary import SPLIT, Idiom, Token, Vocabulary

_WORD = re.compile(r"[^\W_]+")
_DOUBLED = re.compile(r"(.)\1")
_LET_GO = re.compile(
    r"\blet (?:the |that |this |its |your )?(?:\w+ )?\w+ (?:go|loose)\b(?=\W*$| now\b| please\b| then\b| and\b|[.,;!?])"
)
_SIGNS = frozenset(",.?")
_PARTICLES = frozenset(("up", "down", "on", "off", "in", "out", "over", "back"))
_ADVERBS = frozenset(("left", "right", "up", "down", "back", "forward"))
_COMPARATIVES = frozenset(
    ("more", "less", "harder", "softer", "stronger", "weaker", "faster", "slower", "further", "smaller", "bigger")
)


class Tokenizer:
    """
    Splits remarks about actions of one space.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        vocabulary = Vocabulary(names)
        self.quantities = vocabulary.quantities
        self._names = vocabulary.parts_of_names
        self._has_let_go = "let-go" in vocabulary.ways
        self._has_right = "right" in vocabulary.ways
        self._senses = list(sense_patterns(vocabulary.ways.keys() & AMBIGUOUS).items())
        self._table = vocabulary.tokens()
        self._idioms = vocabulary.idioms()
        known = roles.role_of_words()
        self._comparatives = {word: Token(known[word], word) for word in _COMPARATIVES}
        self._own: dict[str, list[str]] = {}
        for word in sorted(word for word in {*vocabulary.ways, *vocabulary.named} if len(word) > 3):
            self._own.setdefault(word[0], []).append(word)

    def tokens(self, text: str) -> list[Token]:
        """
        :param text: A remark
        :return: Its words and signs
        """
        text = normalise(text)
        if PRAISE.match(text):
            return [Token(roles.GOOD, "bravo")]
        spoken = [(word, pattern) for word, pattern in self._senses if word in text]
        if spoken:
            is_named = not self._names.isdisjoint(_WORD.findall(text))
            for word, pattern in spoken:
                if not (is_named and word in _PARTICLES):
                    text = pattern.sub(OTHER, text)
        if self._has_let_go:
            text = _LET_GO.sub("let go", text)
        if "right" in text and not (self._has_right and NOT_CORRECT.search(text)):
            text = CORRECT_SENSE.sub(_as_correct, text)
        table = self._table
        found = _joined([table.get(word) or self._unlisted(word) for word in self._without_idioms(SPLIT.findall(text))])
        spoken_of = {index for token in found if token.word not in _COMPARATIVES for index, _ in token.ways}
        if spoken_of:  # "less heat", but "less down"
            found = [
                self._comparatives[token.word]
                if token.word in self._comparatives and spoken_of.issuperset(index for index, _ in token.ways)
                else token
                for token in found
            ]
        found = [_as_move(token, found[place + 1 : place + 3]) for place, token in enumerate(found)]
        return found if text.isascii() else _without_arrows(found)

    def _without_idioms(self, words: list[str]) -> list[str]:
        """Words with every idiom in those that it means."""
        out: list[str] = []
        start, idioms = 0, self._idioms
        while start < len(words):
            word = words[start]
            idiom = self._idiom_at(words, start, idioms[word]) if word in idioms else None
            if idiom is None:
                out.append(word)
                start += 1
            else:
                out += idiom.meaning
                start += len(idiom.parts)
        return out

    def _idiom_at(self, words: list[str], start: int, idioms: list[Idiom]) -> Idiom | None:
        for idiom in idioms:
            end = start + len(idiom.parts)
            if words[start:end] == idiom.parts and not (idiom.is_whole and not self._is_clause(words, start, end)):
                return idiom
        return None

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
            return Token(roles.NUMBER, word)
        singled = _DOUBLED.sub(r"\1", word)
        stem, _, rest = word.partition("-")
        for form in (
            word.rstrip("'"),
            word.removesuffix("'s"),
            word.replace("-", ""),
            "" if rest in _PARTICLES else stem,
            singled,
        ):
            token = self._table.get(form)
            if token is not None:
                return token
        slip = next((own for own in self._own.get(first, ()) if _is_slip(word, own)), None) if len(word) > 2 else None
        return Token(roles.UNKNOWN, word) if slip is None else self._table[slip]._replace(word=word)


def _joined(tokens: list[Token]) -> list[Token]:
    """Words that are one part together: "too little", "more gently", and verbs with their particle, as in "close up"."""
    out = [Token(".", ".")]
    for token in [*tokens, Token(".", ".")]:
        last = out[-1]
        if last.word == "too" and token.role in _SIGNS:
            out[-1] = Token(roles.FAIR, "too")  # "you too"
        if last.word == "rather" and token.role in "jwpqxmkzZ":
            last = out[-1] = Token(roles.FAIR, "rather")  # "rather far"
        if last.role == roles.EXCESS and token.role == roles.WEAK:
            out[-1] = Token(roles.LACK, token.word)
        elif last.role == roles.MORE and token.role in "wyjx" and token.word != "overly":
            out[-1] = Token(roles.GENTLE if token.role in "wy" else roles.HARDER, token.word)
        elif not (last.ways and token.dimension is None and (last.ways == token.ways or _is_particle_of(last, token))):
            out.append(token)
    return out[1:-1]


def _is_particle_of(verb: Token, token: Token) -> bool:
    dimensions = {dimension for dimension, _ in verb.ways} & {dimension for dimension, _ in token.ways}
    return bool(token.ways) and token.word in ("up", "down", "out") and verb.word not in _ADVERBS and not dimensions


def _as_move(token: Token, after: list[Token]) -> Token:
    """ "Hit" as a way to move: "hit the gas"."""
    following = next((other for other in after if other.role != roles.FAIR), None)
    is_move = token.word in ("hit", "slam", "floor") and following is not None and following.ways
    return Token(roles.MOVE, token.word) if is_move else token


def _as_correct(match: re.Match[str]) -> str:
    return match.group().replace("right", "correctly")


def _without_arrows(tokens: list[Token]) -> list[Token]:
    """Arrows count where no word names a direction."""
    if any(token.ways and token.word not in ARROWS for token in tokens):
        return [token for token in tokens if token.word not in ARROWS]
    return tokens


def _is_slip(token: str, word: str) -> bool:
    """Whether letters of a word changed places, or one is missing or too many."""
    if abs(len(token) - len(word)) > 1 or token == word + "s":
        return False
    if len(token) == len(word):
        return sorted(token) == sorted(word)
    short, long = sorted((token, word), key=len)
    letters = iter(long)
    return all(letter in letters for letter in short)
