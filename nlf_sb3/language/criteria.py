"""When a response satisfies: a criterion as plain data, evaluated without executing anything."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.history import check_text
from nlf_sb3.language.sources import ACRONYMS, NAMES

_LISTS = ("any_of", "all_of", "none_of", "ends_with")
_COUNTS = ("min_words", "max_words")
_KEYS = (*_LISTS, *_COUNTS, "names_source", "case_sensitive")


class Criterion:
    """
    A condition on a response; all of its parts must hold.

    - ``any_of``, ``all_of``, ``none_of``: lists of phrases, found at word borders, in any case
    - ``ends_with``: a list of phrases of which one must come last; punctuation after it doesn't count
    - ``min_words``, ``max_words``: bounds on the number of words, both inclusive
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
            text = _normal(response, self._cased)
            found = [_pattern(_normal(phrase, self._cased), key == "ends_with").search(text) is not None for phrase in value]
            return all(found) if key == "all_of" else any(found) is not (key == "none_of")
        if key in _COUNTS:
            words = len(response.split())
            return bool(words >= value if key == "min_words" else words <= value)
        return key != "names_source" or names_source(response)

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

    :param text: Any text
    :return: Whether it names one of them
    """
    return _any_pattern(ACRONYMS).search(text) is not None or _any_pattern(_CASELESS).search(_normal(text, False)) is not None


def _normal(text: str, cased: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return text if cased else unicodedata.normalize("NFC", text.casefold())


_CASELESS = tuple(_normal(name, False) for name in NAMES)


def _expression(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


@lru_cache(maxsize=4096)
def _pattern(phrase: str, at_end: bool) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){_expression(phrase)}(?!\w)" + (r"\W*\Z" if at_end else ""))


@lru_cache(maxsize=16)
def _any_pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(_expression, phrases))})(?!\w)")


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
        return [check_text(phrase, f"criterion.{key}[{index}]") for index, phrase in enumerate(value)]
    if key in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise FeedbackError(f"criterion.{key}: got {value!r:.80}, expected a whole number of words such as 60.")
        return value
    if value is not True:
        raise FeedbackError(f"criterion.{key}: got {value!r:.80}, expected true. Leave it out where it doesn't matter.")
    return True
