"""One exchange as a record: what was said before, what was answered, what the user made of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Any

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import TEXT_KINDS, Feedback
from nlf_sb3.language.criteria import Criterion
from nlf_sb3.language.history import Turn, check_history, check_text

_SAYS_SOMETHING = ("expected_response", "criterion", "text", "score")


@dataclass(frozen=True)
class Record:
    """
    One exchange, and what a user made of it or would make of it. At least one of ``expected_response``, ``criterion``,
    ``text`` and ``score`` must be there.

    >>> Record([{"role": "user", "content": "Is a pear a fruit?"}], "Yes, says the USDA.", {"any_of": ["USDA"]}).id is None
    True

    :param history: Turns ``{"role": "user" or "assistant", "content": str}`` before the response; the last is the user's.
        A turn of the role ``"system"`` may come first.
    :param expected_response: What the user would have liked to hear
    :param criterion: When a response satisfies, as plain data (:class:`~nlf_sb3.language.Criterion`)
    :param text: What the user says when it doesn't; several ways of saying it if it is a list
    :param text_kind: The kind of the text, one of :data:`~nlf_sb3.feedback.TEXT_KINDS`, where it is known
    :param score: How satisfied the user was with ``response``, for recorded feedback
    :param response: What had been answered, for recorded feedback; an answer that doesn't satisfy, in a data set
    :param id: A name for the record
    :param split: What part of a data set it belongs to, such as ``"train"`` or ``"held_out"``
    :param source: Where the record comes from
    :raises FeedbackError: If a field is of the wrong kind or empty
    """

    history: tuple[Turn, ...] | list[Turn]
    expected_response: str | None = None
    criterion: Mapping[str, Any] | None = None
    text: str | tuple[str, ...] | list[str] | None = None
    text_kind: str | None = field(default=None, kw_only=True)
    score: float | None = field(default=None, kw_only=True)
    response: str | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    split: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", check_history(self.history))
        for name in ("expected_response", "id", "split", "source"):
            if getattr(self, name) is not None:
                check_text(getattr(self, name), name)
        if self.response is not None:  # a model may have answered nothing
            check_text(self.response, "response", may_be_empty=True)
        if self.criterion is not None:
            object.__setattr__(self, "criterion", Criterion(self.criterion).data)
        if self.text is not None:
            object.__setattr__(self, "text", _checked_texts(self.text))
        if self.text_kind is not None and self.text_kind not in TEXT_KINDS:
            raise FeedbackError(f"text_kind: got {self.text_kind!r}, expected None or one of {', '.join(TEXT_KINDS)}.")
        object.__setattr__(self, "score", Feedback(score=self.score).score)
        if all(getattr(self, name) is None for name in _SAYS_SOMETHING):
            raise FeedbackError(
                f"record: got none of {', '.join(_SAYS_SOMETHING)}, expected at least one: what is it to teach?"
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """All ways in which the user says what was wrong."""
        if self.text is None:
            return ()
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    def to_dict(self) -> dict[str, Any]:
        """
        :return: The fields that say something, as plain JSON data
        """
        data = {spec.name: getattr(self, spec.name) for spec in fields(self) if getattr(self, spec.name) is not None}
        data["history"] = [dict(turn) for turn in self.history]
        if isinstance(self.text, tuple):
            data["text"] = list(self.text)
        if self.criterion is not None:
            data["criterion"] = dict(self.criterion)
        return data

    @classmethod
    def from_dict(cls, data: Any, *, max_response_chars: int | None = None) -> Record:
        """
        :param data: What :meth:`to_dict` gave
        :param max_response_chars: Most characters of a response or an expected response, if there is a limit
        :return: The record
        :raises FeedbackError: If a field is missing, unknown, of the wrong kind, empty or too long
        """
        if not isinstance(data, Mapping):
            raise FeedbackError(f"record: got {data!r:.80} ({type(data).__name__}), expected an object with a history.")
        known = [spec.name for spec in fields(cls)]
        unknown = [key for key in data if key not in known]
        if unknown:
            several = "unknown fields" if len(unknown) > 1 else "an unknown field"
            close = [match for key in unknown for match in difflib.get_close_matches(str(key), known, n=1)]
            mend = f"Did you mean {', '.join(close)}?" if len(close) == len(unknown) else f"There are {', '.join(known)}."
            raise FeedbackError(f"record: got {several} {', '.join(map(repr, unknown))}. {mend}")
        if "history" not in data:
            raise FeedbackError(
                f"record: history is missing (got {', '.join(map(str, data)) or 'no field'}). Add the user's turn."
            )
        for name in ("response", "expected_response"):
            if data.get(name) is not None and max_response_chars is not None:
                check_text(data[name], name, may_be_empty=True, max_chars=max_response_chars)
        return cls(**data)


def _checked_texts(text: Any) -> str | tuple[str, ...]:
    if not isinstance(text, (list, tuple)):
        return check_text(text, "text")
    if not text:
        raise FeedbackError("text: got an empty list, expected at least one text. Leave text out where there is none.")
    return tuple(check_text(one, f"text[{index}]") for index, one in enumerate(text))


def as_records(records: Iterable[Record]) -> list[Record]:
    """
    :param records: Records
    :return: A list of them
    :raises FeedbackError: If there is none, or one is something else
    """
    if isinstance(records, (str, PurePath, Mapping)) or not isinstance(records, Iterable):
        raise FeedbackError(f"records: got {records!r:.80}, expected a list of Record. Read a file with read_records(path).")
    several = list(records)
    for index, record in enumerate(several):
        if not isinstance(record, Record):
            raise FeedbackError(
                f"records[{index}]: got {type(record).__name__}, expected a Record. See Record.from_dict(data)."
            )
    if not several:
        raise FeedbackError("records: got none, expected at least one.")
    return several
