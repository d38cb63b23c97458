"""Read one remark: which way, more or less of the same, praise or blame, how much, and how surely that was understood."""

from __future__ import annotations

from typing import NamedTuple

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text.agreement import Agreement, names_direction
from nlf_sb3.text.confidence import confidence_in
from nlf_sb3.text.discourse import without_discourse
from nlf_sb3.text.summary import Summary
from nlf_sb3.text.tokens import Tokenizer
from nlf_sb3.text.vocabulary import Token

_MAX_CHARACTERS = 600
_N_REMEMBERED = 4096
_LEAST_AGREEMENT, _DISPUTED = 0.3, 0.2
"""Below this probability the second opinion disputes a direction, and the confidence in a disputed one."""


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
    :param confidence: How surely it was understood, from 0 to 1
    :param is_of_action: Whether it says what was done
    """

    ways: dict[int, int]
    told: dict[int, int]
    dimension: int | None
    more: int
    turns: bool
    valence: int
    size: int
    confidence: float
    is_of_action: bool


class Reader:
    """
    Reads remarks about actions of one space, and remembers what it has read.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        self._tokenizer = Tokenizer(names)
        self._agreement = Agreement()
        self._readings: dict[str, Reading] = {}

    def read(self, text: str) -> Reading:
        """
        :param text: A remark
        :return: What it says
        """
        reading = self._readings.get(text)
        if reading is None:
            if len(self._readings) >= _N_REMEMBERED:
                self._readings.clear()
            reading = self._readings[text] = self._read(text)
        return reading

    def _read(self, text: str) -> Reading:
        tokens = without_discourse(self._tokenizer.tokens(text[:_MAX_CHARACTERS]))
        summary = Summary(tokens, self._tokenizer.quantities)
        confidence = summary.doubt * confidence_in(tokens, summary.mentions, summary.more != 0 or summary.turns)
        if self._is_disputed(tokens, summary.ways):
            confidence = min(confidence, _DISPUTED)
        return Reading(
            summary.ways,
            summary.told,
            summary.dimension,
            summary.more,
            summary.turns,
            summary.valence,
            summary.size,
            confidence * min(1.0, _MAX_CHARACTERS / max(len(text), 1)),
            summary.is_of_action,
        )

    def _is_disputed(self, tokens: list[Token], ways: dict[int, int]) -> bool:
        """Whether the words taken together hardly ever ask for a direction that the clauses ask for."""
        return any(
            way != 0
            and names_direction(tokens, dimension)
            and self._agreement.probability(tokens, dimension, way) < _LEAST_AGREEMENT
            for dimension, way in ways.items()
        )
