"""A person at the terminal as a teacher: what they type becomes feedback."""

from __future__ import annotations

import sys
from typing import TextIO

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Feedback
from nlf_sb3.teachers.teachers import Transition
from nlf_sb3.validation import check_actions


class ConsoleTeacher:
    """
    Shows a step and asks a person for words, a score and an action.

    An empty line is silence. ``/score 0.5`` and ``/action -1.2`` fill the other channels, on lines of their own or after words
    (``too far left /score 0``); ``/skip 50`` is silent for 50 steps, ``/quit`` for good. What can't be read is said and asked
    again. The end of the input is ``/quit``.

    :param action_space: The environment's action space
    :param every: Ask about each ``every``-th step
    :param source: Where lines are read; None for the terminal
    :param out: Where the questions go; None for the terminal
    """

    def __init__(
        self, action_space: spaces.Space, *, every: int = 1, source: TextIO | None = None, out: TextIO | None = None
    ) -> None:
        if every < 1:
            raise ValueError(f"every: got {every}, expected at least 1.")
        self.action_space = action_space
        self.every = every
        self._source = source
        self._out = out
        self._n_steps = 0
        self._silent_until: float = 0

    def __call__(self, transition: Transition) -> Feedback | None:
        self._n_steps += 1
        if self._n_steps <= self._silent_until or (self._n_steps - 1) % self.every:
            return None
        self._say(f"step {transition.step}: state {_short(transition.observation)}, action {_short(transition.action)}")
        while True:
            self._say("feedback> ", end="")
            line = (self._source or sys.stdin).readline()
            try:
                return self._read("/quit" if line == "" else line.strip())
            except (FeedbackError, ValueError) as error:
                self._say(str(error))

    def _read(self, line: str) -> Feedback | None:
        text, *commands = (part.strip() for part in line.split("/"))
        score = action = None
        for command in commands:
            name, _, argument = command.partition(" ")
            if name == "score":
                score = _number(argument)
            elif name == "action":
                action = self._action(argument)
            elif name in ("skip", "quit"):
                self._silent_until = np.inf if name == "quit" else self._n_steps + int(_number(argument))
            else:
                raise ValueError(f"/{name}: expected /score NUMBER, /action NUMBERS, /skip STEPS or /quit.")
        if not text and score is None and action is None:
            return None
        return Feedback(score=score, text=text or None, expert_action=action)

    def _action(self, argument: str) -> np.ndarray:
        is_whole = not isinstance(self.action_space, spaces.Box)
        numbers = [_number(number) for number in argument.replace(",", " ").split()]
        if is_whole and any(number != int(number) for number in numbers):
            raise ValueError(f"/action {argument}: expected whole numbers of {self.action_space}.")
        shape = self.action_space.shape or ()
        if len(numbers) != int(np.prod(shape)):
            raise ValueError(f"/action {argument}: got {len(numbers)} numbers, expected {int(np.prod(shape))}.")
        row = np.array(numbers, dtype=np.int64 if is_whole else np.float64).reshape(1, *shape)
        action: np.ndarray = check_actions(row, self.action_space, 1, "/action")[0]
        return action

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._out or sys.stdout, flush=True)


def _number(argument: str) -> float:
    try:
        return float(argument)
    except ValueError:
        raise ValueError(f"got {argument!r}, expected a number.") from None


def _short(value: object) -> str:
    return np.array2string(np.asarray(value), precision=3, threshold=8) if not isinstance(value, dict) else str(value)
