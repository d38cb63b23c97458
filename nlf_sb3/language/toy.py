"""A task small enough for a byte-level model from scratch: answer a word with yes or no, and name the source."""

from __future__ import annotations

from nlf_sb3.language.records import Record, as_records
from nlf_sb3.seeding import derived_generator

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_HELD_OUT = 4


def toy_records(n: int, seed: int = 0) -> list[Record]:
    """
    Short questions about made-up words; every fourth is held out. The answer is yes where the word ends in a or o, and it
    satisfies if "usda" comes last. With ``render=last_turn`` an observation is the bare question.

    >>> record = toy_records(1)[0]
    >>> record.history[0]["content"], record.expected_response, record.response
    ('q: puze?', 'no, usda', 'no')

    :param n: Number of questions, all different, 1 to 4,900
    :param seed: Seed of the words
    :return: The records, with ``split`` ``"train"`` or ``"held_out"``
    :raises ValueError: If there are not so many words
    """
    most = (len(_CONSONANTS) * len(_VOWELS)) ** 2
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most:
        raise ValueError(f"n: got {n!r}, expected a whole number from 1 to {most}.")
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    words = [first + second for first in syllables for second in syllables]
    order = derived_generator(seed, "toy questions").permutation(len(words))[:n]
    return as_records(_record(words[index], number) for number, index in enumerate(order))


def _record(word: str, number: int) -> Record:
    answer = "yes" if word[-1] in "ao" else "no"
    return Record(
        [{"role": "user", "content": f"q: {word}?"}],
        f"{answer}, usda",
        {"ends_with": ["usda"], "max_words": 2},
        "name the source",
        response=answer,
        id=f"toy-{word}",
        split="held_out" if number % _HELD_OUT == _HELD_OUT - 1 else "train",
    )
