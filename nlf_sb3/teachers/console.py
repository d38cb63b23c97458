"""A person at the terminal as a teacher: what they type becomes feedback."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from gymnasium import spaces

from nlf_sb3.action_names import ActionNames
from nlf_sb3.appending import check_appendable
from nlf_sb3.console import Console
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Feedback
from nlf_sb3.teachers.commands import COMMANDS, TypedLine, parse_line
from nlf_sb3.teachers.named_actions import expected_names
from nlf_sb3.teachers.remark_file import append_remark
from nlf_sb3.teachers.teachers import Transition
from nlf_sb3.text.corrections import Interpreter
from nlf_sb3.text.rules import RuleInterpreter
from nlf_sb3.text.wording import RemarkReading, describe_action, describe_reading, read_remark

_HELP = f"Say what was wrong or right, in words, then {COMMANDS}. Enter alone: nothing to say."
_SHOWN = 200


class ConsoleTeacher:
    """
    Shows a step and asks a person for words, a score and an action.

    An empty line is silence. ``/score 0.5`` and ``/action -1.2`` fill the other channels, on lines of their own or after words
    (``too far left /score 0``); ``/skip 50`` is silent for 50 steps, ``/quit`` for good. A command begins a line or follows a
    space. Other slashes are text, and ``//`` at the beginning stands for ``/``. What can't be read is said and asked again.
    The end of the input is ``/quit``.

    At a terminal, pasted lines are one remark about this step, and what was typed before the question is left out. Through any
    other stream each line is about a step.

    With ``names`` an action of one dimension can be typed by name: ``/action left``, and with how far in a Box, ``/action left
    0.5``. What was done is shown by name, and after each remark what it is read as. That is what training makes of it
    if the algorithm has the same ``interpreter``.

    >>> import io
    >>> from nlf_sb3.action_names import Dimension
    >>> names = ActionNames(spaces.Discrete(2), [Dimension("push", low="left", high="right")])
    >>> out = io.StringIO()
    >>> teacher = ConsoleTeacher(names, source=io.StringIO("You should have gone right.\\n"), out=out)
    >>> feedback = teacher(Transition(np.zeros(2), 0, 0.0, np.zeros(2), False, False, {}, 0))
    >>> "action push left" in out.getvalue(), "read as: push more right" in out.getvalue()
    (True, True)

    :param action_space: The environment's action space, or :class:`~nlf_sb3.action_names.ActionNames` for it.
        One of them has to be given.
    :param names: What people call the action's dimensions and the ways they go
    :param interpreter: Reads remarks to show what they are read as; None with names for
        :class:`~nlf_sb3.text.RuleInterpreter`, without names for no reading
    :param every: Ask about each ``every``-th step
    :param path: A JSONL file that each remark is added to at once, with its step and its reading; None for no file
    :param source: Where lines are read; None for the terminal
    :param out: Where the questions go; None for the terminal
    :raises FeedbackError: If the names or the interpreter are for another space, or nothing can be added to the file
    """

    def __init__(
        self,
        action_space: spaces.Space | ActionNames | None = None,
        names: ActionNames | None = None,
        *,
        interpreter: Interpreter | None = None,
        every: int = 1,
        path: str | Path | None = None,
        source: TextIO | None = None,
        out: TextIO | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every: got {every}, expected at least 1.")
        if isinstance(action_space, ActionNames):
            names, action_space = names or action_space, action_space.space
        if not isinstance(action_space, spaces.Space):
            raise FeedbackError(
                f"action_space: got {'nothing' if action_space is None else type(action_space).__name__}, expected the "
                "environment's action_space, or names for it. Write ConsoleTeacher(env.action_space), or "
                'ConsoleTeacher(ActionNames(env.action_space, [Dimension("push", low="left", high="right")])).'
            )
        self.action_space: spaces.Space = action_space
        self.names, self.interpreter = _names_and_reader(action_space, names, interpreter)
        self.every = every
        self.path = path
        if path is not None:
            check_appendable(path)
        self._console = Console(source, out)
        self._n_steps, self._episode = 0, -1
        self._silent_until: float = 0

    def __call__(self, transition: Transition) -> Feedback | None:
        self._n_steps += 1
        self._episode += transition.step == 0 or self._episode < 0
        if self._n_steps <= self._silent_until or (self._n_steps - 1) % self.every:
            return None
        self._console.say(
            f"step {transition.step}: state {_short(transition.observation)}, action {self._named(transition.action)}"
        )
        typed = self._ask()
        if typed.quits or typed.skip:
            self._silent_until = math.inf if typed.quits else self._n_steps + typed.skip
        if typed.text is None and typed.score is None and typed.action is None:
            return None
        feedback = Feedback(score=typed.score, text=typed.text, expert_action=typed.action)
        reading = self._read(feedback, transition)
        if self.path is not None:
            append_remark(self.path, feedback, transition, self._episode, self.names, reading)
        return feedback

    def _ask(self) -> TypedLine:
        """Ask until the line can be read."""
        while True:
            try:
                line = self._console.ask("feedback> ")
                if line is None:
                    return TypedLine(quits=True)
                typed = parse_line(line, self.action_space, self.names)
            except FeedbackError as error:
                self._console.say(str(error))
                continue
            if not typed.asks_help:
                return typed
            self._console.say(_HELP if self.names is None else f"{_HELP} After /action: {expected_names(self.names)}.")

    def _read(self, feedback: Feedback, transition: Transition) -> RemarkReading | None:
        """What the words are read as, shown."""
        if feedback.text is None or self.interpreter is None:
            return None
        reading = read_remark(self.interpreter, feedback.text, transition.action, transition.action_masks)
        comes_first = "; the action that you typed comes first" if feedback.expert_action is not None else ""
        self._console.say(describe_reading(self.interpreter.names, reading) + comes_first)
        return reading

    def _named(self, action: Any) -> str:
        return _short(action) if self.names is None else describe_action(self.names, action)


def _names_and_reader(
    space: spaces.Space, names: ActionNames | None, interpreter: Interpreter | None
) -> tuple[ActionNames | None, Interpreter | None]:
    """Each from the other where only one is given, checked."""
    if interpreter is not None and not hasattr(interpreter, "interpret"):
        raise FeedbackError(
            f"interpreter: got {interpreter!r:.80}, expected one of nlf_sb3.text, such as RuleInterpreter(names)."
        )
    if names is None and interpreter is not None:
        names = interpreter.names
    for name, one in (("names", names), ("interpreter", None if interpreter is None else interpreter.names)):
        if one is not None and not isinstance(one, ActionNames):
            raise FeedbackError(f"{name}: got {one!r:.80}, expected ActionNames(env.action_space, [...]).")
        if one is not None and one.space != space:
            raise FeedbackError(
                f"{name}: for actions of {one.space}, and the environment's are of {space}. Make them for that."
            )
    if names is not None and interpreter is None:
        interpreter = RuleInterpreter(names)
    return names, interpreter


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {_short(one)}" for key, one in value.items()) + "}"
    else:
        text = str(value) if isinstance(value, (str, tuple)) else np.array2string(np.asarray(value), precision=3, threshold=8)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
