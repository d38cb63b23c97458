"""The clauses of a remark."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.vocabulary import Token

_SPLITS = frozenset(
    ("but", "because", "cause", "so", "then", "yet", "while", "whereas", "however", "although", "though", "until", "before")
) | {"when", "where", "or"}


_CONSEQUENCES = frozenset(("else", "it", "the", "you", "we", "they", "i", "he", "she", "this", "that", "everything"))
_ADDRESSED = frozenset("IYu")


@dataclass
class Clause:
    """
    A clause.

    :param opens: The sign or word before it
    :param tokens: Its words
    :param closes: The sign after it
    """

    opens: str
    tokens: list[Token] = field(default_factory=list)
    closes: str = ""

    @property
    def has_mention(self) -> bool:
        return any(token.role == roles.MENTION for token in self.tokens)

    @property
    def dimension(self) -> int | None:
        return next((token.dimension for token in self.tokens if token.dimension is not None), None)


def codes_of(tokens: list[Token]) -> str:
    """
    :param tokens: Words
    :return: The letters of their parts, without those that are just grammar
    """
    return "".join([token.role for token in tokens if token.role != roles.FAIR])


def clauses_of(tokens: list[Token]) -> list[Clause]:
    """
    :param tokens: A remark
    :return: Its clauses
    """
    clauses = [Clause("")]
    for index, token in enumerate(tokens):
        if token.role in ",.?":
            _close(clauses, token.role)
        elif _opens_a_clause(tokens, index):
            if clauses[-1].tokens:
                clauses.append(Clause(token.word))
            else:
                clauses[-1].opens = token.word
        elif token.role == roles.AND and _joins_clauses(tokens, index):
            clauses.append(Clause("and"))
        else:
            clauses[-1].tokens.append(token)
    return [clause for clause in clauses if clause.tokens]


def _close(clauses: list[Clause], sign: str) -> None:
    clauses[-1].closes = clauses[-1].closes or sign
    if sign == "?" and len(clauses) > 1 and _ADDRESSED.issuperset(codes_of(clauses[-1].tokens)):
        clauses[-2].closes = "?"  # "..., my dear?"
    if clauses[-1].tokens:
        clauses.append(Clause(sign))
    elif sign != ",":
        clauses[-1].opens = sign


def _opens_a_clause(tokens: list[Token], index: int) -> bool:
    token = tokens[index]
    if token.word not in _SPLITS or token.role == roles.MENTION:
        return False
    if token.word == "or":
        return 0 < index < len(tokens) - 1 and tokens[index + 1].word in _CONSEQUENCES
    if token.word != "so":
        return True
    before, after = tokens[index - 1 : index], tokens[index + 1 : index + 2]
    is_degree = (before and before[0].role in "nBhvM") or (after and after[0].role in "jwp")
    return not is_degree


def _joins_clauses(tokens: list[Token], index: int) -> bool:
    """Whether "and" stands between clauses, and not between two ways of one dimension: "left and right"."""
    if index + 1 == len(tokens) or index == 0:
        return False
    before, after = tokens[index - 1], tokens[index + 1]
    both = {dimension for dimension, _ in before.ways} & {dimension for dimension, _ in after.ways}
    return not (before.role == after.role == roles.MENTION and both)
