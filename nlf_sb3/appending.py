"""Lines added to a file so that a kill loses nothing: each is on the disk when the call returns."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nlf_sb3.errors import FeedbackError

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


def append_line(path: str | Path, line: bytes) -> None:
    """
    Add one line to a file in one write at its end. Half a line that an earlier process left when it was killed is closed
    first, so that it spoils no other.

    :param path: The file; it is made if there is none
    :param line: The line with its end
    :raises OSError: If it can't be written
    """
    with open(os.open(path, _APPEND, 0o666), "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        while line:  # once, unless the disk is full: then the next write says so
            line = line[file.write(line) :]
        os.fsync(file.fileno())


def check_appendable(path: str | Path) -> None:
    """
    :param path: A file that lines will be added to; it is neither made nor changed
    :raises FeedbackError: If that can't be done
    """
    try:
        try:
            os.close(os.open(path, _APPEND & ~os.O_CREAT))
        except FileNotFoundError:  # it isn't made and taken away again: in between another process may add a line
            tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))).close()
    except OSError as error:
        raise FeedbackError(
            f"path: can't write to {os.fspath(path)!r} ({error.strerror}). "
            "Name a file in a folder that is there and can be written to."
        ) from error
