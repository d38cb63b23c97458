"""Bytes that a person typed: a line of a stream, or all that arrives at a terminal at once. Memory is bounded."""

from __future__ import annotations

import contextlib
import io
import os
import select
from collections.abc import Iterator
from typing import Any, TextIO

from nlf_sb3.errors import FeedbackError

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

_PAUSE = 0.05
"""Seconds after a line in which the next one belongs to it: nobody types that fast, and a paste doesn't wait longer."""
_CHUNK = 1 << 16
_TERMINAL_LINE = 4_096
"""Bytes of a terminal's longest line: the kernel drops the rest of a longer one, and doesn't say so."""


def terminal_of(stream: TextIO | None) -> int | None:
    """
    :param stream: Where lines are read
    :return: The file descriptor of a terminal whose input can be looked at; None for anything else
    """
    try:
        if termios is None or stream is None or not stream.isatty():
            return None
        number = stream.fileno()
        termios.tcgetattr(number)
    except (OSError, ValueError, AttributeError, termios.error):
        return None
    return number


def read_block(terminal: int, limit: int) -> bytes:
    """
    The next line, and the lines that arrive with it, since pasted lines belong together. Where the last of them has no end
    yet, it ends with Enter.

    :param terminal: File descriptor
    :param limit: Most bytes to keep; a longer block is one byte longer than that
    :return: The block; nothing at the end of the input
    :raises FeedbackError: If the terminal has cut the line
    """
    block = _terminal_line(terminal, limit)
    is_cut = len(block) >= _TERMINAL_LINE
    while block.endswith(b"\n"):
        more = read_pending(terminal, _PAUSE, limit)
        if not more:
            break
        block = _bounded(block + more, limit)
        if more.endswith(b"\n"):
            continue
        rest = _terminal_line(terminal, limit)
        is_cut = is_cut or len(rest) >= _TERMINAL_LINE
        block = _bounded(block + rest, limit)
    if is_cut:
        raise FeedbackError(
            f"got a line of {_TERMINAL_LINE - 1:,} bytes, where a terminal cuts longer ones. "
            "Break it into several lines and paste them together."
        )
    return block


def read_pending(terminal: int, pause: float, limit: int) -> bytes:
    """
    What has arrived at a terminal already, unfinished lines too.

    :param terminal: File descriptor
    :param pause: Seconds without input at which it is all
    :param limit: Most bytes to keep, and the last one
    :return: The bytes; none if there are none
    """
    pending = b""
    with _every_byte(terminal), contextlib.suppress(OSError, ValueError):
        while select.select([terminal], [], [], pause)[0]:
            piece = os.read(terminal, _CHUNK)
            if not piece:
                break
            pending = _bounded(pending + piece, limit)
    return pending


@contextlib.contextmanager
def _every_byte(terminal: int) -> Iterator[None]:
    """Let a terminal hand over lines that aren't finished, too."""
    try:
        before = termios.tcgetattr(terminal)
        during: list[Any] = [*before]
        during[3] &= ~termios.ICANON
        termios.tcsetattr(terminal, termios.TCSANOW, during)
    except (OSError, termios.error):  # it hung up
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def _terminal_line(terminal: int, limit: int) -> bytes:
    line = b""
    while not line.endswith((b"\n", b"\r")):
        try:
            piece = os.read(terminal, _CHUNK)
        except OSError:  # it hung up
            break
        if not piece:
            break
        line = _bounded(line + piece, limit)
    return line


def _bounded(data: bytes, limit: int) -> bytes:
    """At most ``limit`` bytes and the last one, which says whether the line has ended."""
    return data if len(data) <= limit else data[:limit] + data[-1:]


def read_line(stream: TextIO | None, limit: int) -> bytes | str:
    """
    A stream's next line, of at most ``limit`` bytes or characters and its end; the rest of a longer one is passed over.

    Bytes are read beside the stream's decoder where there are some: of what it can't decode it loses the lines after, too.

    :param stream: A text stream; None, or a closed one, is at its end
    :param limit: Most bytes or characters to keep; a longer line is one longer than that
    :return: The line; nothing at the end
    :raises UnicodeDecodeError: If only the stream itself can decode it, and can't
    """
    if stream is None:
        return b""
    try:
        readline = (_bytes_of(stream) or stream).readline
        line = rest = readline(limit + 2)
        while rest and not _has_end(rest):
            rest = readline(_CHUNK)
    except UnicodeDecodeError:
        raise
    except (OSError, ValueError):  # closed, or not for reading
        return b""
    return line if _has_end(line) else line[: limit + 1]


def _has_end(line: bytes | str) -> bool:
    return line.endswith(b"\n") if isinstance(line, bytes) else line.endswith("\n")


def _bytes_of(stream: Any) -> Any:
    """The bytes under a text stream, if nothing of them has gone into its decoder yet."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        if "\n".encode(stream.encoding) != b"\n":
            return None
        stream.reconfigure(errors=stream.errors)  # changes nothing; refused once the stream itself has read ahead
    except (io.UnsupportedOperation, LookupError):
        return None
    return stream.buffer
