"""When a response satisfies: a criterion as plain data, evaluated without executing anything."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.history import check_text
from nlf_sb3.language.matching import count_words, find, is_last, normal, variants
from nlf_sb3.language.sources import ACRONYMS, EXCLAMATIONS, NAMES

_LISTS = ("any_of", "all_of", "none_of", "ends_with")
_COUNTS = ("min_words", "max_words")
_KEYS = (*_LISTS, *_COUNTS, "names_source", "case_sensitive")


class Criterion:
    """
    A condition on a response; all of its parts must hold.

    - ``any_of``, ``all_of``, ``none_of``: lists of phrases, found at word borders, in any case; in scripts without spaces
      anywhere, since their words have no borders that can be seen
    - ``ends_with``: a list of phrases of which one must come last; punctuation after it doesn't count
    - ``min_words``, ``max_words``: bounds on the number of words, both inclusive; in scripts without spaces every character
      counts as a word
    - ``names_source``: true if one of :mod:`nlf_sb3.language.sources` must be named, such as USDA or Mayo Clinic
    - ``case_sensitive``: true if the phrases' case counts: "WHO" is not "who"

    >>> Criterion({"any_of": ["USDA", "Mayo Clinic"], "max_words": 8}).satisfied_by("Pears are, says the mayo clinic.")
    True
    >>> Criterion({"names_source": True}).unmet("I am one of those who have no source.")
    ['names_source']

    :param data: The criterion as plain JSON data
    :raises FeedbackError: If a key is unknown or its value doesn't fit
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = _checked(data)
        self._cased = bool(self.data.get("case_sensitive"))

    def satisfied_by(self, response: str) -> bool:
        """
        :param response: What was said
        :return: Whether all parts hold
        """
        return not self.unmet(response)

    def unmet(self, response: str) -> list[str]:
        """
        :param response: What was said
        :return: The keys of the parts that don't hold
        """
        return [key for key, value in self.data.items() if not self._holds(key, value, response)]

    def _holds(self, key: str, value: Any, response: str) -> bool:
        if key in _LISTS:
            texts = list(variants(response, self._cased))
            found = [self._finds(normal(phrase, self._cased), texts, key == "ends_with") for phrase in value]
            return all(found) if key == "all_of" else any(found) is not (key == "none_of")
        if key in _COUNTS:
            words = count_words(response)
            return bool(words >= value if key == "min_words" else words <= value)
        return key != "names_source" or names_source(response)

    def _finds(self, phrase: str, texts: list[str], at_end: bool) -> bool:
        return any(not at_end or is_last(text, end) for text in texts for _, end in find((phrase,), text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Criterion) and self.data == other.data

    def __hash__(self) -> int:
        return hash(repr(sorted(self.data.items())))

    def __repr__(self) -> str:
        return f"Criterion({self.data!r})"


def names_source(text: str) -> bool:
    """
    Whether a text names one of :mod:`nlf_sb3.language.sources`: short names in capitals only, whole names in any case.

    >>> names_source("As per the USDA Nutrient Database, pears are high in fiber.")
    True
    >>> names_source("AHA! I see.")
    False

    :param text: Any text
    :return: Whether it names one of them
    """
    return any(_names_in_short(one) for one in variants(text, True)) or any(
        next(find(_CASELESS, one), None) is not None for one in variants(text, False)
    )


_CASELESS = tuple(normal(name, False) for name in NAMES)
_SHORT = (*ACRONYMS, *(f"{name}s" for name in ACRONYMS))


def _names_in_short(text: str) -> bool:
    return any(
        text[start:end].removesuffix("s") not in EXCLAMATIONS or not _is_cried_out(text, start, end)
        for start, end in find(_SHORT, text)
    )


_SENTENCE_END = ".!?\u2026\u3002\uff01\uff1f"


def _is_cried_out(text: str, start: int, end: int) -> bool:
    """Whether capitals are a cry, as in "AHA! I see.", or stand in a sentence that has nothing else."""
    first = max(text.rfind(mark, 0, start) for mark in _SENTENCE_END) + 1
    last = min((place for mark in _SENTENCE_END if (place := text.find(mark, end)) >= 0), default=len(text))
    before, after = text[first:start], text[end:last]
    begins = not any(map(str.isalnum, before))
    name, follows = text[start:end], text[end : end + 1]
    if begins and (follows in set(_SENTENCE_END) - {"."} or (follows == "," and name != "WHO")):
        return True
    if name == "AHA" and (follows == "!" or after.lower().startswith((" moment", "-moment"))):
        return True
    others = re.findall(r"[^\W\d_]+", before + " " + after)
    return bool(set(others) - set(_SHORT)) and "".join(others).isupper()


def _checked(data: Any) -> dict[str, Any]:
    """A copy of a criterion's data, if every key is known and every value fits."""
    if not isinstance(data, Mapping):
        raise FeedbackError(
            f'criterion: got {data!r:.80} ({type(data).__name__}), expected an object such as {{"any_of": [...]}}.'
        )
    for key in data:
        if key not in _KEYS:
            close = difflib.get_close_matches(str(key), _KEYS, n=1)
            mend = f"Did you mean {close[0]}?" if close else f"There are {', '.join(_KEYS)}."
            raise FeedbackError(f"criterion: got an unknown key {key!r}. {mend}")
    if not set(data) - {"case_sensitive"}:
        raise FeedbackError(f"criterion: got {dict(data)!r}, expected a condition: one of {', '.join(_KEYS[:-1])}.")
    checked = {key: _checked_value(key, value) for key, value in data.items()}
    least, most = checked.get("min_words", 0), checked.get("max_words")
    if most is not None and least > most:
        raise FeedbackError(f"criterion: got min_words {least} above max_words {most}: no response could satisfy it.")
    return checked


def _checked_value(key: str, value: Any) -> Any:
    if key in _LISTS:
        if isinstance(value, str) or not isinstance(value, (list, tuple)) or not value:
            raise FeedbackError(
                f'criterion.{key}: got {value!r:.80}, expected a list of phrases such as ["USDA", "Mayo Clinic"].'
            )
        for index, phrase in enumerate(value):
            if not normal(check_text(phrase, f"criterion.{key}[{index}]"), True):
                raise FeedbackError(f"criterion.{key}[{index}]: got {phrase!r}, expected something that can be seen.")
        return list(value)
    if key in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise FeedbackError(f"criterion.{key}: got {value!r:.80}, expected a whole number of words such as 60.")
        return value
    if value is not True:
        raise FeedbackError(f"criterion.{key}: got {value!r:.80}, expected true. Leave it out where it doesn't matter.")
    return True
