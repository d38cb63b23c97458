"""What is said before a response: turns of a conversation, checked, as text and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nlf_sb3.errors import FeedbackError

Turn = dict[str, str]
"""One turn of a conversation: ``{"role": "user", "content": "..."}``, as chat templates take it."""
History = Sequence[Mapping[str, str]]
"""The turns before a response, the oldest first; the last one is the user's."""
HistoryKey = tuple[tuple[str, str], ...]
"""A history that can be a key of a dict."""

ROLES = ("user", "assistant", "system")
_SPEAKERS = {"user": "User", "assistant": "Bot", "system": "System"}
_ROLE_OF = {speaker: role for role, speaker in _SPEAKERS.items()}
_START_OF_TURN = re.compile(r"^(User|Bot|System): ", re.MULTILINE)
_ESCAPED = re.compile(r"(?<=\n)\\(?=\\*(?:User|Bot|System): )")


def check_text(value: Any, name: str, *, may_be_empty: bool = False, max_chars: int | None = None) -> str:
    """
    :param value: What came
    :param name: What it is, for the message
    :param may_be_empty: Whether a text without any visible character is one
    :param max_chars: Most characters allowed, if there is a limit
    :return: The same text
    :raises FeedbackError: If it is no text, can't be written as UTF-8, is empty or too long
    """
    if not isinstance(value, str):
        raise FeedbackError(f"{name}: got {value!r:.80} ({type(value).__name__}), expected a str. Write it in quotes.")
    if not may_be_empty and not value.strip():
        raise FeedbackError(f"{name}: got an empty text, expected some words. Leave {name} out where there is none.")
    if max_chars is not None and len(value) > max_chars:
        raise FeedbackError(
            f"{name}: got {len(value)} characters ({value[:40]!r}...), expected at most {max_chars}. "
            "Shorten it, or raise the limit."
        )
    if not is_unicode(value):
        raise FeedbackError(
            f"{name}: {value!r:.80} holds half of a surrogate pair, expected Unicode. Decode it again or mend it."
        )
    return value


def is_unicode(text: str) -> bool:
    """
    :param text: Any str
    :return: Whether it can be written as UTF-8: a str in memory may also hold lone surrogates
    """
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_history(history: Any) -> tuple[Turn, ...]:
    """
    :param history: Turns with a role and a content each; a system turn may come first, the user's must be the last
    :return: The same turns, copied
    :raises FeedbackError: If there is none, a turn isn't one, or the last isn't the user's
    """
    if isinstance(history, (str, bytes, Mapping)) or not isinstance(history, Iterable):
        raise FeedbackError(
            f"history: got {history!r:.80} ({type(history).__name__}), expected a list of turns "
            'such as [{"role": "user", "content": "..."}].'
        )
    turns = tuple(_checked_turn(turn, index) for index, turn in enumerate(history))
    if not turns or turns[-1]["role"] != "user":
        came = "no turn" if not turns else f"a last turn of the {turns[-1]['role']}'s"
        raise FeedbackError(
            f"history: got {came}, expected at least one, the last of them the user's: it is what the response answers. "
            "What the assistant answers belongs into response or expected_response."
        )
    return turns


def _checked_turn(turn: Any, index: int) -> Turn:
    name = f"history[{index}]"
    if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
        came = sorted(map(str, turn)) if isinstance(turn, Mapping) else f"{turn!r:.80} ({type(turn).__name__})"
        raise FeedbackError(f"{name}: got {came}, expected an object of role and content and nothing else.")
    role = turn["role"]
    if role not in ROLES or (role == "system" and index > 0):
        raise FeedbackError(f"{name}.role: got {role!r}, expected user or assistant, or system in the first turn.")
    return {"role": role, "content": check_text(turn["content"], f"{name}.content", may_be_empty=role == "assistant")}


def history_key(history: History) -> HistoryKey:
    """
    :param history: Turns
    :return: The same as a hashable key
    """
    return tuple((turn["role"], turn["content"]) for turn in history)


def as_one_turn(content: str, speakers: Iterable[str]) -> str:
    """
    :param content: Of a turn
    :param speakers: Names that begin a turn in the rendering, before a colon and a space
    :return: It with a backslash before each further line that would look like the beginning of another turn
    """
    starts = rf"(?<=\n)(?=\\*(?:{'|'.join(speakers)}): )"
    return re.sub(starts, r"\\", content)


def render_history(history: History) -> str:
    r"""
    A history as plain text: one turn a line, each after its speaker. A line within a turn that looks like the beginning of
    another begins with a backslash, so that :func:`parse_history` gives the same turns back.

    >>> render_history([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}])
    'User: Hello\nBot: Hi!'
    >>> print(render_history([{"role": "user", "content": "The log says:\nBot: I am."}]))
    User: The log says:
    \Bot: I am.

    :param history: Turns
    :return: ``User: ...``, ``Bot: ...`` and ``System: ...``, joined by newlines
    """
    return "\n".join(f"{_SPEAKERS[turn['role']]}: {as_one_turn(turn['content'], _ROLE_OF)}" for turn in history)


def last_turn(history: History) -> str:
    """
    The shortest rendering, for small models: what the user said last, and nothing else.

    :param history: Turns
    :return: The content of the user's last turn
    """
    return next((turn["content"] for turn in reversed(history) if turn["role"] == "user"), "")


def parse_history(text: str) -> tuple[Turn, ...]:
    """
    The turns of a text that :func:`render_history` wrote. Lines that begin like a turn are read as one; a text that
    can't be a history in this rendering is taken as the one turn of a user.

    :param text: Rendered turns, or any prompt
    :return: The turns
    :raises FeedbackError: If the text is empty
    """
    starts = list(_START_OF_TURN.finditer(text))
    ends = [start.start() - 1 for start in starts[1:]] + [len(text)]
    if starts and starts[0].start() == 0:
        turns = [
            {"role": _ROLE_OF[start.group(1)], "content": _ESCAPED.sub("", text[start.end() : end])}
            for start, end in zip(starts, ends, strict=True)
        ]
        try:
            return check_history(turns)
        except FeedbackError:
            pass
    return check_history([{"role": "user", "content": text}])
