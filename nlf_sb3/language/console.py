"""A person at a terminal as the user of a conversation."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from nlf_sb3.language.history import History, check_text, render_history
from nlf_sb3.language.record_files import append_record
from nlf_sb3.language.records import Record, as_records
from nlf_sb3.language.users import Reply


class ConsoleUser:
    """
    Shows a response and asks a person for a score, for what was wrong and for what was expected.

    An empty line or the end of the input (Ctrl-D) says nothing; a score that is no number in the range is asked again.

    :param records: What conversations begin with
    :param path: A JSONL file that each answer is added to at once; None for no file
    :param low: Least score
    :param high: Greatest score
    :param input_stream: Where answers are read; standard input if None
    :param output_stream: Where questions are written; standard output if None, in colour where rich is installed
    :raises ValueError: If ``low`` isn't below ``high``
    """

    def __init__(
        self,
        records: Iterable[Record] | None = None,
        *,
        path: str | Path | None = None,
        low: float = 0.0,
        high: float = 1.0,
        input_stream: TextIO | None = None,
        output_stream: TextIO | None = None,
    ) -> None:
        if not low < high or not math.isfinite(high - low):
            raise ValueError(f"low, high: got {low} and {high}, expected finite numbers, the first below the second.")
        self.records = None if records is None else as_records(records)
        self.path = path
        self.low, self.high = low, high
        self._input, self._output = input_stream, output_stream

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: What the person said of it
        """
        self._show(f"\n{render_history(history)}")
        self._show(f"Bot: {response}", style="bold")
        said: dict[str, Any] = {}
        try:
            self._ask(f"Score from {self.low:g} to {self.high:g} (Enter: none): ", "score", self._score, said)
            self._ask("What was wrong? (Enter: nothing) ", "text", lambda line: check_text(line, "text"), said)
            self._ask(
                "What did you expect? (Enter: nothing) ", "expected_response", lambda line: check_text(line, "response"), said
            )
        finally:  # what was said before an interruption is kept, too
            if said and self.path is not None:
                append_record(self.path, Record([dict(turn) for turn in history], response=response, source="console", **said))
        return Reply(**said)

    def _ask(self, question: str, name: str, parse: Callable[[str], Any], said: dict[str, Any]) -> None:
        """Ask until the answer can be read, it is empty or the input ends."""
        while True:
            self._show(question, end="")
            try:
                line = (self._input or sys.stdin).readline()
                if not line.endswith("\n"):
                    self._show("")  # Ctrl-D leaves the cursor behind the question
                if line.strip():
                    said[name] = parse(line.strip())
                return
            except ValueError as error:  # what was typed can't be decoded, or is no answer to the question
                self._show(str(error), style="red")

    def _score(self, line: str) -> float:
        try:
            score = float(line)
        except ValueError:
            score = math.nan
        if not self.low <= score <= self.high:
            raise ValueError(
                f"score: got {line!r:.40}, expected a number from {self.low:g} to {self.high:g}, or Enter for none."
            )
        return score

    def _show(self, text: str, *, style: str | None = None, end: str = "\n") -> None:
        # A response may hold escape sequences, which a terminal would obey, and half surrogates, which it can't print.
        shown = "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
        stream = self._output or sys.stdout
        if self._output is None and stream.isatty():
            try:
                from rich.console import Console
                from rich.text import Text
            except ImportError:
                pass
            else:
                Console().print(Text(shown, style=style or ""), end=end)
                return
        try:
            stream.write(shown + end)
        except UnicodeEncodeError:
            stream.write(shown.encode("ascii", "backslashreplace").decode("ascii") + end)
        stream.flush()
