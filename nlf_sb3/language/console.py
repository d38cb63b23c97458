"""A person at a terminal as the user of a conversation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from nlf_sb3.appending import check_appendable
from nlf_sb3.console import Console
from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.history import History, check_history, check_text, render_history
from nlf_sb3.language.record_files import append_record
from nlf_sb3.language.records import Record, as_records
from nlf_sb3.language.users import Reply
from nlf_sb3.typed_numbers import as_number


class ConsoleUser:
    """
    Shows a response and asks a person for a score, for what was wrong and for what was expected.

    An empty line or the end of the input (Ctrl-D) says nothing. What isn't text, or is no score in the range, is asked again.

    At a terminal an answer is a line, or the lines of a paste, and what was typed before the question is left out. A stream
    has no such timing, nor has Windows' console. There the score and what was wrong are a line each. What was expected may
    have many lines, and a line of one full stop ends it; if its first line is empty, it is nothing. So an answer through a
    pipe is ``0``, ``No source.``, ``According to the USDA:``, ``6 g.``, ``.``, each on its line.

    :param records: What conversations begin with
    :param path: A JSONL file that each answer is added to at once; None for no file
    :param low: Least score
    :param high: Greatest score
    :param input_stream: Where answers are read; standard input if None
    :param output_stream: Where questions are written; standard output if None, in colour where rich is installed
    :raises ValueError: If ``low`` isn't below ``high``
    :raises FeedbackError: If nothing can be added to the file
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
        if path is not None:
            check_appendable(path)
        self.records = None if records is None else as_records(records)
        self.path = path
        self.low, self.high = low, high
        self._console = Console(input_stream, output_stream)

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: What the person said of it
        :raises FeedbackError: If there is a file, and it can't hold the history or the response
        """
        if self.path is not None:  # before anybody has answered for nothing
            check_history(history)
            check_text(response, "response", may_be_empty=True)
        console = self._console
        console.say(f"\n{render_history(history)}")
        console.say(f"Bot: {response}", style="bold")
        said: dict[str, Any] = {}
        end = "" if console.keeps_time else ", end with a line of one full stop"
        try:
            self._ask(console.ask, f"Score from {self.low:g} to {self.high:g} (Enter: none): ", "score", self._score, said)
            self._ask(console.ask, "What was wrong? (Enter: nothing) ", "text", str.strip, said)
            self._ask(console.ask_lines, f"What did you expect? (Enter: nothing{end}) ", "expected_response", str.strip, said)
        finally:  # what was said before an interruption is kept, too
            if said and self.path is not None:
                append_record(self.path, Record([dict(turn) for turn in history], response=response, source="console", **said))
        return Reply(**said)

    def _ask(
        self,
        ask: Callable[[str], str | None],
        question: str,
        name: str,
        parse: Callable[[str], Any],
        said: dict[str, Any],
    ) -> None:
        """Ask until the answer can be read, it is empty or the input ends."""
        while True:
            try:
                answer = ask(question)
                if answer is not None and answer.strip():
                    said[name] = parse(answer)
                return
            except FeedbackError as error:
                self._console.say(str(error), style="red")

    def _score(self, answer: str) -> float:
        wanted = f"expected a number from {self.low:g} to {self.high:g}, or Enter for none."
        if "\n" in answer:
            raise FeedbackError(f"score: got {len(answer.splitlines())} lines at once and took none of them, {wanted}")
        try:
            score = as_number(answer)
        except FeedbackError as error:
            hint = str(error).partition("0.5.")[2]
            raise FeedbackError(f"score: got {answer.strip()!r:.40}, {wanted}{hint}") from error
        if not self.low <= score <= self.high:
            raise FeedbackError(f"score: got {answer.strip()!r:.40}, {wanted}")
        return score
