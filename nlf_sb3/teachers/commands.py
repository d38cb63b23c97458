"""A line that a person typed about a step: words, and after them commands that begin with a slash."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from nlf_sb3.action_names import ActionNames
from nlf_sb3.errors import FeedbackError
from nlf_sb3.teachers.named_actions import expected_names, named_action
from nlf_sb3.typed_numbers import as_number, as_whole_number
from nlf_sb3.validation import check_actions

COMMANDS = "/score NUMBER, /action NUMBERS, /skip STEPS, /quit or /help"
_NAMES = ("score", "action", "skip", "quit", "help")
_WORD = re.compile(r"(?<!\S)[/／](\S*)")  # noqa: RUF001 - a full-width slash is what some keyboards type
_LARGEST_SCORE = 1_000_000_000
"""Rewards are kept in single precision, and their squares must fit there, too."""
_ALIKE = 0.7
"""How near another word with a slash must come to a command to be taken for a mistyped one."""


@dataclass
class TypedLine:
    """
    What a line says.

    :param text: The words
    :param score: After ``/score``
    :param action: After ``/action``, environment-scale
    :param skip: Steps to be silent after this one
    :param quits: Whether to be silent for good
    :param asks_help: Whether to show how it is done
    """

    text: str | None = None
    score: float | None = None
    action: np.ndarray | None = None
    skip: int = 0
    quits: bool = False
    asks_help: bool = False


def parse_line(line: str, space: spaces.Space, names: ActionNames | None = None) -> TypedLine:
    """
    A command is a word that begins with a slash, at the start of a line or after a space; every other slash is text.

    >>> parse_line("left/right is off /score 0", spaces.Discrete(2))
    TypedLine(text='left/right is off', score=0.0, action=None, skip=0, quits=False, asks_help=False)

    :param line: What was typed, one line or several
    :param space: The environment's action space
    :param names: What people call its directions, if they have names
    :return: What it says
    :raises FeedbackError: With what came and what was expected
    """
    found = [(match, name) for match in _WORD.finditer(line) if (name := _command(match, line)) is not None]
    text = (line[: found[0][0].start()] if found else line).strip()
    if text.startswith("//"):
        text = text[1:]
    typed = TypedLine(text=text or None)
    ends = [*(match.start() for match, _ in found[1:]), len(line)]
    seen: set[str] = set()
    for (match, name), end in zip(found, ends, strict=False):
        if name in seen:
            raise FeedbackError(f"got /{name} twice, expected it once.")
        seen.add(name)
        _obey(name, line[match.end() : end].strip(), typed, space, names)
    if {"skip", "quit"} <= seen:
        raise FeedbackError("got /skip and /quit, expected one of them.")
    return typed


def _command(match: re.Match[str], line: str) -> str | None:
    """The command's name, or None for text."""
    name = match.group(1).lower()
    if name in _NAMES:
        return name
    if name.startswith("/"):  # the way to write a slash as text
        return None
    is_first = not line[: match.start()].strip()
    if not is_first and not difflib.get_close_matches(name, _NAMES, n=1, cutoff=_ALIKE):
        return None
    raise FeedbackError(
        f"got /{match.group(1)[:40]}, expected {COMMANDS}. To say it in words, write it with two slashes, "
        f"//{match.group(1)[:40]}, at the beginning."
    )


def _obey(name: str, argument: str, typed: TypedLine, space: spaces.Space, names: ActionNames | None) -> None:
    try:
        if name == "score":
            typed.score = as_number(argument)
            if abs(typed.score) > _LARGEST_SCORE:
                raise FeedbackError(
                    f"got {argument!r:.40}, expected at most {_LARGEST_SCORE:,}: a policy can't learn from more."
                )
        elif name == "action":
            typed.action = _action(argument, space, names)
        elif name == "skip":
            typed.skip = as_whole_number(argument)
            if typed.skip < 1:
                raise FeedbackError(f"got {argument!r:.40}, expected at least 1 step.")
        elif argument:
            raise FeedbackError(f"got {argument!r:.40} after it, expected nothing. Words come before commands.")
        else:
            typed.quits, typed.asks_help = typed.quits or name == "quit", typed.asks_help or name == "help"
    except FeedbackError as error:
        words = " Words come before commands." if argument.count(" ") and name in ("score", "skip") else ""
        raise FeedbackError(f"/{name}: {error}{words}") from error


def _action(argument: str, space: spaces.Space, names: ActionNames | None) -> np.ndarray:
    shape = space.shape or ()
    size = int(np.prod(shape))
    is_whole = np.dtype(space.dtype).kind in "iub"
    parts = re.sub(r"[\[\]();,]", " ", argument).split()
    numbers = None if names is None else named_action(argument, names)
    if numbers is None:
        try:
            numbers = [as_whole_number(part) if is_whole else as_number(part) for part in parts]
        except FeedbackError as error:
            if names is None or not any(map(str.isalpha, argument)):
                raise
            raise FeedbackError(f"got {argument!r:.40}, expected {expected_names(names)}.") from error
    if len(numbers) != size:
        comma = " Write the decimal point as a full stop." if "," in argument and len(numbers) == 2 * size else ""
        raise FeedbackError(f"got {len(numbers)} numbers, expected {size} of {space}.{comma}")
    row = np.array(numbers, dtype=np.int64 if is_whole else np.float64).reshape(1, *shape)
    action: np.ndarray = check_actions(row, space, 1, "action typed")[0]
    return action
