"""Who answers a response: users that score it, say what was wrong and what they expected."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.criteria import Criterion
from nlf_sb3.language.history import History, HistoryKey, check_text, history_key
from nlf_sb3.language.record_files import read_records
from nlf_sb3.language.records import Record, as_records
from nlf_sb3.seeding import derived_generator


class Reply(NamedTuple):
    """
    What a user makes of a response; ``Reply()`` is silence.

    :param score: How satisfied the user is, a finite number
    :param text: What was wrong, in words
    :param expected_response: What the user would have liked to hear
    :param text_kind: The kind of the text, one of :data:`~nlf_sb3.feedback.TEXT_KINDS`, where it is known
    :param expected_reward: What the expected response is worth, where it isn't what :class:`TokenLevel` says
    """

    score: float | None = None
    text: str | None = None
    expected_response: str | None = None
    text_kind: str | None = None
    expected_reward: float | None = None


class User(Protocol):
    """Anything that answers a response. It may have a method ``seed(seed)`` and ``records`` to begin conversations with."""

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: What the user makes of it
        """


class SimulatedUser:
    """
    Scores 1 what satisfies a record's criterion and 0 everything else; then it says what was wrong and what it expected.

    >>> asked = [{"role": "user", "content": "Is a pear a fruit?"}]
    >>> record = Record(asked, "Yes, says the USDA.", {"any_of": ["USDA"]}, "Who says so?")
    >>> SimulatedUser([record]).answer(record.history, "Yes.")[:3]
    (0.0, 'Who says so?', 'Yes, says the USDA.')
    >>> SimulatedUser([record]).answer(record.history, "According to the USDA it is.").score
    1.0

    :param records: What it asks, each with a criterion. Of a longer conversation, the record counts whose history is the
        longest beginning of it.
    :param shows_expected: Whether it gives the expected response to what doesn't satisfy; a number is the chance that it does
    :param speaks: Whether it gives the text to what doesn't satisfy; a number is the chance that it does. Of several texts
        it draws one.
    :param seed: Seed of its own generator
    :raises FeedbackError: If a record has no criterion, or two of them begin alike but differ in what they expect
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        shows_expected: bool | float = True,
        speaks: bool | float = True,
        seed: int | None = 0,
    ) -> None:
        self.records = as_records(records)
        self.shows_expected = _chance(shows_expected, "shows_expected")
        self.speaks = _chance(speaks, "speaks")
        self._known: dict[HistoryKey, tuple[Record, Criterion]] = {}
        for index, record in enumerate(self.records):
            self._learn(record, f"record {index if record.id is None else record.id!r}")
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of what it says and whether it speaks
        """
        self._rng = derived_generator(seed, "simulated user")

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: Score, and text and expected response where the response doesn't satisfy
        :raises FeedbackError: If no record begins like the history
        """
        record, criterion = self._find(history)
        # Drawn in any case, so that what a user says next doesn't depend on what was answered before.
        speaks, shows, which = self._rng.random(3)
        if criterion.satisfied_by(response):
            return Reply(score=1.0)
        texts = record.texts if speaks < self.speaks else ()
        return Reply(
            score=0.0,
            text=texts[int(which * len(texts))] if texts else None,
            expected_response=record.expected_response if shows < self.shows_expected else None,
            text_kind=(record.text_kind or "fp") if texts else None,
        )

    def _learn(self, record: Record, name: str) -> None:
        if record.criterion is None:
            raise FeedbackError(
                f"SimulatedUser: {name} has no criterion, so that it can't score. Add one to it, such as "
                '{"names_source": true}, or play recorded feedback back with RecordedUser.'
            )
        known = self._known.setdefault(history_key(record.history), (record, Criterion(record.criterion)))[0]
        if (known.criterion, known.expected_response, known.texts) != (
            record.criterion,
            record.expected_response,
            record.texts,
        ):
            raise FeedbackError(
                f"SimulatedUser: {name} has the history of another record but expects something else. Keep one."
            )

    def _find(self, history: History) -> tuple[Record, Criterion]:
        key = history_key(history)
        for length in range(len(key), 0, -1):
            if key[:length] in self._known:
                return self._known[key[:length]]
        raise FeedbackError(f"SimulatedUser: no record begins like {key!r:.200}. Give it that record, or another user.")


class RecordedUser:
    """
    Plays real feedback back: what was recorded about the same response to the same history, and silence about any other.

    :param records: The records, or the JSONL file that holds them, each with the response that it is about. Spaces around
        a response don't count; of several records about the same response the last counts.
    :param on_error: What :func:`~nlf_sb3.language.read_records` does about lines that are no records
    :raises FeedbackError: If a record has no response
    """

    def __init__(self, records: str | Path | Iterable[Record], *, on_error: Literal["raise", "skip"] = "raise") -> None:
        self.records = read_records(records, on_error) if isinstance(records, (str, Path)) else as_records(records)
        self._replies: dict[tuple[HistoryKey, str], Reply] = {}
        for index, record in enumerate(self.records):
            if record.response is None:
                name = index if record.id is None else repr(record.id)
                raise FeedbackError(
                    f"RecordedUser: record {name} has no response, so that nobody knows what it is about. "
                    "Add the response, or let a SimulatedUser answer by criterion."
                )
            text = record.texts[0] if record.texts else None
            reply = Reply(record.score, text, record.expected_response, record.text_kind)
            self._replies[history_key(record.history), record.response.strip()] = reply

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: What was recorded, or silence
        """
        return self._replies.get((history_key(history), response.strip()), Reply())


def check_reply(reply: Any) -> Reply:
    """
    :param reply: What a user answered
    :return: The same; silence for None
    :raises FeedbackError: If it is no reply, or says something that is no text
    """
    if reply is None:
        return Reply()
    if not isinstance(reply, Reply):
        raise FeedbackError(
            f"user: got {reply!r:.80} ({type(reply).__name__}), expected a Reply(score, text, expected_response)."
        )
    for name in ("text", "expected_response"):
        if getattr(reply, name) is not None:
            check_text(getattr(reply, name), name)
    return reply


def _chance(value: Any, name: str) -> float:
    if isinstance(value, (bool, int, float, np.floating)) and 0.0 <= value <= 1.0:
        return float(value)
    raise ValueError(f"{name}: got {value!r}, expected True, False or a chance in [0, 1].")
