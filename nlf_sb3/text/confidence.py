"""How surely a remark was understood."""

from __future__ import annotations

import re

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.clauses import codes_of
from nlf_sb3.text.comparison import Mention
from nlf_sb3.text.senses import PARTICLES
from nlf_sb3.text.vocabulary import Token

_BESIDE, _NEAR, _FAR = (2, 0.25), (5, 0.4), 0.6
"""Distance of an unknown word from a direction, in words, and the factor for it."""
_WITHOUT_EVIDENCE = 0.2
_LONG = 60
_LEAST = 0.04
_EVIDENCE, _UNKNOWN = re.compile("[JvgdhH]"), re.compile("[uos]")


def confidence_in(tokens: list[Token], mentions: list[Mention], is_relative: bool) -> float:
    """
    :param tokens: A remark
    :param mentions: The directions in it
    :param is_relative: Whether it asks for more, less or the opposite of what was done
    :return: Less for each unknown word, and least for one beside a direction
    """
    words = [token for token in tokens if token.role not in ",.?#"]
    if not words:
        return 0.0
    confidence = min(1.0, _LONG / len(words))
    places = [place for place, token in enumerate(words) if token.role == roles.MENTION]
    for place, token in enumerate(words):
        if token.role in (roles.UNKNOWN, roles.OTHER_SENSE):
            distance = min((abs(place - other) for other in places), default=2 if is_relative else 4)
            confidence *= _BESIDE[1] if distance <= _BESIDE[0] else _NEAR[1] if distance <= _NEAR[0] else _FAR
    return max(confidence, _LEAST) * _evidence(tokens, mentions)


def _evidence(tokens: list[Token], mentions: list[Mention]) -> float:
    """Whether a short word like "up" has a sign near it that a move is meant."""
    spoken = [mention.word for mention in mentions if mention.polarity]
    if spoken and PARTICLES.issuperset(spoken):
        codes = codes_of(tokens)
        if not _EVIDENCE.search(codes) and _UNKNOWN.search(codes):
            return _WITHOUT_EVIDENCE
    return 1.0
