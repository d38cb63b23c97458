"""Records in JSONL files: read with every problem named, written at once, appended so that a kill loses nothing."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from nlf_sb3.appending import append_line
from nlf_sb3.errors import FeedbackError, RecordsError
from nlf_sb3.language.records import Record

_BOM = b"\xef\xbb\xbf"
_SHOWN = 20
_CHUNK = 1 << 16


class Problem(NamedTuple):
    """
    A line that is no record.

    :param path: The file
    :param line: The line's number, from 1
    :param reason: What came, what was expected and how to mend it
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class RecordList(list[Record]):
    """
    Records of a file.

    :param records: The good ones
    :param problems: The lines that are none, where they were skipped
    """

    def __init__(self, records: Iterable[Record] = (), problems: Iterable[Problem] = ()) -> None:
        super().__init__(records)
        self.problems = list(problems)


def read_records(
    path: str | Path,
    on_error: Literal["raise", "skip"] = "raise",
    *,
    max_response_chars: int | None = 20_000,
    max_line_bytes: int = 1_000_000,
) -> RecordList:
    """
    Read a JSONL file of one record a line. Blank lines and a byte order mark are allowed.

    :param path: The file
    :param on_error: ``"raise"`` names all lines that are no records (the first 20 in the message) in one error;
        ``"skip"`` warns once, keeps the good ones and the others as ``.problems``
    :param max_response_chars: Most characters of a response or an expected response; None for no limit
    :param max_line_bytes: Most bytes of a line: nothing longer is held in memory
    :return: The records, in order, with ``.problems``
    :raises FileNotFoundError: If there is no such file
    :raises RecordsError: If a line is no record, with ``.problems``
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: got {on_error!r}, expected 'raise' or 'skip'.")
    if max_line_bytes < 1:
        raise ValueError(f"max_line_bytes: got {max_line_bytes}, expected at least 1.")
    found = RecordList()
    with open(path, "rb") as file:
        for number, line in _bounded_lines(file, max_line_bytes):
            try:
                data = _parsed(line, max_line_bytes)
                if data is not None:
                    found.append(Record.from_dict(data[0], max_response_chars=max_response_chars))
            except FeedbackError as error:
                found.problems.append(Problem(str(path), number, str(error)))
    if found.problems:
        _report(found, on_error)
    return found


def _report(found: RecordList, on_error: str) -> None:
    shown = "\n".join(map(str, found.problems[:_SHOWN]))
    more = f"\nand {len(found.problems) - _SHOWN} more" if len(found.problems) > _SHOWN else ""
    count = f"{len(found.problems)} of {len(found.problems) + len(found)} lines are no records"
    if on_error == "raise":
        mend = 'Mend them, or keep the others with on_error="skip" (--on-error skip).'
        raise RecordsError(f"{count}. {mend}\n{shown}{more}", found.problems)
    warnings.warn(f"{count} and were skipped:\n{shown}{more}", stacklevel=3)


def _bounded_lines(file: IO[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line; of a longer one only the beginning, one byte more than the limit."""
    number = 0
    while line := file.readline(limit + len(_BOM) + 3):  # room for the mark and the line's end
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(_CHUNK)
        if number == 1:
            line = line.removeprefix(_BOM)
        yield number, line.removesuffix(b"\n").removesuffix(b"\r")[: limit + 1]


def _parsed(line: bytes, limit: int) -> tuple[Any] | None:
    """A line's data in a tuple of one, or None if it is blank."""
    if len(line) > limit:
        raise FeedbackError(
            f"line: got more than {limit} bytes (it begins {line[:40]!r}), expected one record. "
            "Put each on a line of its own, or raise max_line_bytes."
        )
    if not line.strip():
        return None
    try:
        return (json.loads(line.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique),)
    except UnicodeDecodeError as error:
        came = f"byte {line[error.start]:#04x} at {error.start}"
        raise FeedbackError(f"line: got {came}, expected UTF-8. Save the file as UTF-8, or mend that character.") from error
    except json.JSONDecodeError as error:
        reason = f"invalid JSON ({error.msg} at column {error.colno})"
        raise FeedbackError(f"line: got {reason}: {error.doc[:60]!r}; expected one JSON object on one line.") from error
    except FeedbackError:
        raise
    except (ValueError, RecursionError) as error:  # a number of too many digits, or brackets nested too deeply
        raise FeedbackError(f"line: got JSON that can't be read ({error}), expected a record.") from error


def _no_constant(name: str) -> Any:
    raise FeedbackError(f"line: got {name}, expected a finite number. Leave the field out where there is none.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FeedbackError(f"line: got {twice!r} twice in one object, expected it once. Take one of them out.")
    return data


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """
    Write a JSONL file whole or not at all: an old one stays as it is until the new one is complete.

    :param path: The file
    :param records: One a line
    :raises FeedbackError: If one of them is no record
    """
    target = Path(path).resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            for record in records:
                file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def append_record(path: str | Path, record: Record) -> None:
    """
    Add one record to a JSONL file, on the disk when this returns. The whole line is one write at the file's end; half a
    line that an earlier process left when it was killed is closed first, so that it spoils no other.

    :param path: The file; it is made if there is none
    :param record: The record
    :raises FeedbackError: If it is no record
    :raises OSError: If it can't be written
    """
    append_line(path, _line(record))


def _line(record: Record) -> bytes:
    if not isinstance(record, Record):
        raise FeedbackError(f"record: got {type(record).__name__}, expected a Record. Make one with Record.from_dict(data).")
    return (json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
