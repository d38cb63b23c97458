"""A second opinion on a remark: a linear classifier of its words and their parts, which knows no grammar."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.vocabulary import Token

WEIGHTS = Path(__file__).resolve().parent.parent / "assets" / "text" / "agreement.npz"
"""Trained by ``python -m benchmarks.readers train``."""
N_FEATURES = 2**14
ASKED_AGAINST, ASKED_FOR_NEITHER, ASKED_FOR = 0, 1, 2
"""The classes, from the point of view of the higher direction of a dimension."""
_UP, _DOWN, _OTHER = "<up>", "<down>", "<other>"
_REACH = 6
"""How many words around a direction are paired with it."""
_Words = list[str]


class Agreement:
    """
    How likely a remark asks for a direction that it names, by multinomial logistic regression.

    Its features are sequences of up to three words and of up to four parts of speech, and pairs of a direction with each of
    the six words before and behind it. The two directions of the dimension in question are always the same two words, so that
    what was learnt from some names holds for others.
    """

    def __init__(self) -> None:
        self._weights, self._bias = _trained()

    def probability(self, tokens: list[Token], dimension: int, direction: int) -> float:
        """
        :param tokens: A remark
        :param dimension: Index of a dimension
        :param direction: 1 for its higher direction, -1 for its lower
        :return: How likely the remark asks for that
        """
        indices, values = features_of(tokens, dimension)
        logits = values @ self._weights[indices] + self._bias
        odds = np.exp(logits - logits.max())
        return float(odds[ASKED_FOR if direction > 0 else ASKED_AGAINST] / odds.sum())


def names_direction(tokens: list[Token], dimension: int) -> bool:
    """
    :param tokens: A remark
    :param dimension: Index of a dimension
    :return: Whether one of its words names a direction of that dimension
    """
    return any(index == dimension for token in tokens for index, _ in token.ways)


def features_of(tokens: list[Token], dimension: int, *, is_mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """
    :param tokens: A remark
    :param dimension: Index of the dimension in question
    :param is_mirrored: Whether its two directions change places
    :return: Indices below :data:`N_FEATURES`, and values whose squares sum to 1, both ``[k]``
    """
    directions = {1: _DOWN, -1: _UP} if is_mirrored else {1: _UP, -1: _DOWN}
    words, parts = ["<"], ["<"]
    for token in tokens:
        way = next((direction for index, direction in token.ways if index == dimension), None)
        if way is not None:
            word = part = directions[way]
        elif token.ways:
            word = part = _OTHER
        elif token.dimension is not None:
            word = part = "<this>" if token.dimension == dimension else "<that>"
        else:
            word, part = token.word, token.role
        words.append("?" if part == roles.UNKNOWN else word)
        if part != roles.FAIR:
            parts.append(part)
    counts: dict[int, float] = {}
    for feature in [*_sequences([*words, ">"], (1, 2, 3), " "), *_sequences([*parts, ">"], (2, 3, 4), "_")]:
        code = crc32(feature.encode())
        index = code % N_FEATURES
        counts[index] = counts.get(index, 0.0) + (1.0 if code & 0x80000000 else -1.0)
    values = np.array(list(counts.values()))
    return np.array(list(counts)), values / max(float(np.linalg.norm(values)), 1e-9)


def _sequences(words: _Words, lengths: tuple[int, ...], sign: str) -> _Words:
    """Neighbours, and pairs of a direction with what stands near it; ``sign`` keeps words and parts apart."""
    found = [sign.join(words[start : start + length]) + sign for length in lengths for start in range(len(words) - length + 1)]
    for place, word in enumerate(words):
        if word in (_UP, _DOWN):
            found += [f"{other}{sign}.. {word}" for other in words[max(0, place - _REACH) : place]]
            found += [f"{word}{sign}.. {other}" for other in words[place + 1 : place + 1 + _REACH]]
    return found


@cache
def _trained() -> tuple[np.ndarray, np.ndarray]:
    with np.load(WEIGHTS) as file:
        weights = np.zeros((N_FEATURES, 3), dtype=np.float32)
        weights[file["indices"]] = file["weights"]
        return weights, file["bias"].astype(np.float32)
