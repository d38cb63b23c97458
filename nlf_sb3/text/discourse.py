"""Words that open or close a remark and say nothing about an action."""

from __future__ import annotations

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.vocabulary import Token

_MOVES_ON = frozenset(("now", "then", "ok", "okay"))
_OPENERS = frozenset(("so", "then", "now", "you", "ok", "okay", "right", "and", "on"))


def without_discourse(tokens: list[Token]) -> list[Token]:
    """
    :param tokens: A remark
    :return: It without "right" where that just opens it: "right, now go left"
    """
    tokens = _without_tag(tokens)
    start = next((place for place, token in enumerate(tokens) if token.role not in "p,.f"), 0)
    if len(tokens) < start + 2 or tokens[start].word != "right" or not tokens[start].ways:
        return tokens
    rest = tokens[start + 1 :]
    if len(rest) > 2 and rest[0].role in ",." and rest[1].word in _MOVES_ON:
        return rest[1:]
    if not any(token.ways for token in rest):
        return tokens
    if rest[0].role in ",.":
        return rest[1:]
    is_corrected = any(token.role == roles.CORRECTED or token.word in ("no", "not", "instead") for token in rest[:4])
    return rest if rest[0].word in _OPENERS and not is_corrected else tokens


def _without_tag(tokens: list[Token]) -> list[Token]:
    """A remark without "right" where that asks for a yes: "you should go left, right?" """
    is_asked = len(tokens) > 3 and tokens[-1].role == "?" and tokens[-2].word == "right" and tokens[-3].role == ","
    return tokens[:-3] if is_asked and any(token.ways for token in tokens[:-3]) else tokens
