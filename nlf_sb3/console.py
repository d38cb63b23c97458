"""A person at a terminal: questions shown without obeying what is in them, and answers read without trusting them."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from typing import TextIO

from nlf_sb3.errors import FeedbackError
from nlf_sb3.typed_lines import read_block, read_line, read_pending, terminal_of

MAX_CHARS = 20_000
"""Most characters of an answer: as many as a file of records takes."""
_BYTES_PER_CHAR = 4
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Categories of invisible characters: a line of them alone is empty."""
_JOINERS = "\u200c\u200d"
"""Invisible, and parts of ordinary letters and emoji."""


class Console:
    """
    Asks a person, at a terminal or through any stream.

    At a terminal, lines that arrive at once (pasted ones) are one answer, and what was typed before the question was shown is
    left out: it answered something else. Other streams, and Windows' console, have no such timing: there a line is an answer.

    :param source: Where answers are read; None for standard input
    :param out: Where questions are written; None for standard output
    :param max_chars: Most characters of an answer
    """

    def __init__(self, source: TextIO | None = None, out: TextIO | None = None, *, max_chars: int = MAX_CHARS) -> None:
        self._source, self._out = source, out
        self.max_chars = max_chars
        self._stuck_at: tuple[object, int] | None = None

    @property
    def keeps_time(self) -> bool:
        """Whether it is known which lines arrived at once."""
        return terminal_of(self._stream) is not None

    def ask(self, question: str, *, style: str | None = None) -> str | None:
        """
        :param question: Shown before the answer
        :param style: A style of rich's
        :return: The answer, without the last line's end; None at the end of the input
        :raises FeedbackError: If it isn't text that a person types, with what came; it is used up
        """
        terminal = terminal_of(self._stream)
        if terminal is not None and read_pending(terminal, 0.0, self.max_chars).strip():
            self.say("(What was typed before this question is left out.)")
        self.say(question, end="", style=style)
        return self._read(terminal)

    def ask_lines(self, question: str, *, style: str | None = None) -> str | None:
        """
        An answer that may have several lines. Where there is no timing, a line of one full stop ends it, or the end of the
        input; an empty first line is an empty answer.

        :param question: Shown before the answer
        :param style: A style of rich's
        :return: The answer, without the last line's end; None at the end of the input
        :raises FeedbackError: As :meth:`ask`; all lines of the answer are used up
        """
        line, problem = self._attempt(question, style)
        if self.keeps_time or (problem is None and not (line or "").strip()):
            if problem is not None:
                raise problem
            return line
        lines: list[str] = []
        n_chars = 0
        while line is not None and line.strip() != ".":
            n_chars += len(line) + 1
            if problem is None and n_chars > self.max_chars:
                problem = self._too_long()
            if problem is None:
                lines.append(line)
            line, later = self._attempt("... ", None)
            problem = problem or later
        if problem is not None:
            raise problem
        return "\n".join(lines)

    def say(self, text: str, *, end: str = "\n", style: str | None = None) -> None:
        """
        Show a text: escape sequences in it, which a terminal would obey, are replaced, and so is what can't be encoded.

        :param text: Any text
        :param end: What comes after it
        :param style: A style of rich's, used at a terminal where rich is installed
        """
        text = "".join(char if _is_shown(char) else "\N{REPLACEMENT CHARACTER}" for char in text)
        stream = self._out or sys.stdout
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            if style is not None and self._out is None and stream.isatty() and _say_in_style(text, end, style):
                return
            try:
                stream.write(text + end)
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode("ascii") + end)
            stream.flush()

    @property
    def _stream(self) -> TextIO | None:
        return self._source or sys.stdin

    def _attempt(self, question: str, style: str | None) -> tuple[str | None, FeedbackError | None]:
        """A line, and what is wrong with it."""
        try:
            return self.ask(question, style=style), None
        except FeedbackError as error:
            return "", error

    def _read(self, terminal: int | None) -> str | None:
        limit = self.max_chars * _BYTES_PER_CHAR
        try:
            came = read_line(self._stream, limit) if terminal is None else read_block(terminal, limit)
        except UnicodeDecodeError as error:
            if self._stuck_at == (error.object, error.start):  # a decoder that never gets past this byte
                return None
            self._stuck_at = (error.object, error.start)
            raise FeedbackError(_undecodable(error)) from error
        if not came.endswith(b"\n" if isinstance(came, bytes) else "\n"):  # type: ignore[arg-type]
            self.say("")  # Ctrl-D leaves the cursor behind the question
        if not came:
            return None
        if isinstance(came, bytes):
            came = self._decoded(came, limit)
        text = came.removesuffix("\n").removesuffix("\r")
        if len(text) > self.max_chars:
            raise self._too_long()
        _check_typed(text)
        return text if any(unicodedata.category(char) not in _INVISIBLE for char in text) else ""

    def _decoded(self, line: bytes, limit: int) -> str:
        if len(line.rstrip(b"\r\n")) > limit:  # it may be cut within a character
            raise self._too_long()
        try:
            text = line.decode(getattr(self._stream, "encoding", None) or "utf-8")
        except UnicodeDecodeError as error:
            raise FeedbackError(_undecodable(error)) from error
        return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")  # a byte order mark

    def _too_long(self) -> FeedbackError:
        return FeedbackError(f"got more than {self.max_chars:,} characters, expected at most so many. Say it in fewer.")


def _undecodable(error: UnicodeDecodeError) -> str:
    return (
        f"can't decode byte {error.object[error.start]:#04x} at {error.start} as {error.encoding}. "
        "Type it again, without that character if it comes again."
    )


def _check_typed(text: str) -> None:
    """Raise at the first character that nobody types on purpose."""
    for index, char in enumerate(text):
        if unicodedata.category(char) not in ("Cc", "Cs") or char in "\n\t":
            continue
        kind = "half of a surrogate pair" if "\ud800" <= char <= "\udfff" else "a control character"
        hint = " (an arrow key?)" if char == "\x1b" else ""
        raise FeedbackError(f"got {kind}, U+{ord(char):04X}{hint}, at {index}, expected plain text. Type it again.")


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or char in _JOINERS or unicodedata.category(char) == "Zs"


def _say_in_style(text: str, end: str, style: str) -> bool:
    """Show it in colour, if rich is installed."""
    try:
        from rich.console import Console as RichConsole
        from rich.text import Text
    except ImportError:
        return False
    RichConsole().print(Text(text, style=style), end=end)
    return True
