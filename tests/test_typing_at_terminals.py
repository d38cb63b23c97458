"""People who type at real terminals: pasted lines, keys pressed early, odd bytes, Ctrl-D and Ctrl-C."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager

import gymnasium as gym
import numpy as np
import pytest

from nlf_sb3.language import ConsoleUser, Reply, read_records
from nlf_sb3.teachers import ConsoleTeacher, Transition

termios = pytest.importorskip("termios", reason="pseudo-terminals are POSIX")

ASKED = [{"role": "user", "content": "Is a pear a fruit?"}]
STEP = Transition(np.zeros(2), np.zeros(1), 0.0, np.zeros(2), False, False, {}, 1)


class Person(io.StringIO):
    """A screen whose reader types an answer after each question."""

    def __init__(self, answers: list[bytes], keyboard: int) -> None:
        super().__init__()
        self.answers, self.keyboard = answers, keyboard

    def write(self, text: str) -> int:
        if text.endswith((") ", "): ", "feedback> ")) and self.answers:
            os.write(self.keyboard, self.answers.pop(0))
        return super().write(text)


@contextmanager
def terminal(*answers: bytes):
    """What a program reads, and a screen, of a terminal at which these answers are typed."""
    keyboard, program = os.openpty()
    with open(program, encoding="utf-8") as typed:
        yield typed, Person(list(answers), keyboard)
    os.close(keyboard)


@contextmanager
def teacher_at_terminal(*answers: bytes):
    with terminal(*answers) as (typed, screen):
        yield ConsoleTeacher(gym.spaces.Box(-1, 1, (1,)), source=typed, out=screen), screen


@contextmanager
def user_at_terminal(*answers: bytes, **options: object):
    with terminal(*answers) as (typed, screen):
        yield ConsoleUser(input_stream=typed, output_stream=screen, **options), screen


@pytest.mark.parametrize(
    ("pasted", "expected"),
    [
        (b"Eat:\n1\n2\n3\n", "Eat:\n1\n2\n3"),
        (
            b"According to the USDA, yes.\n\nIt has 6 g of fibre.\n\n1\n",
            "According to the USDA, yes.\n\nIt has 6 g of fibre.\n\n1",
        ),
        (b"\n\n0\n.\n1\n", "0\n.\n1"),
        (b"One line.\n", "One line."),
        (b"\n", None),
    ],
)
def test_pasted_lines_are_one_answer_and_nothing_of_the_next(pasted, expected):
    with user_at_terminal(b"0\n", b"bad\n", pasted, b"\n", b"\n", b"\n") as (user, screen):
        assert user.answer(ASKED, "Yes.") == Reply(0.0, "bad", expected)
        assert user.answer(ASKED, "No.") == Reply()
        assert screen.answers == []


def test_a_paste_without_a_last_line_end_waits_for_enter():
    with user_at_terminal(b"\n", b"first\nsecond", b"\n", b"\n", b"\n", b"\n") as (user, screen):
        pressing = threading.Timer(0.3, os.write, (screen.keyboard, b"\n"))
        pressing.start()
        assert user.answer(ASKED, "Yes.") == Reply(text="first\nsecond")
        pressing.join()
        assert user.answer(ASKED, "No.") == Reply()


def test_lines_pasted_where_a_score_is_asked_are_no_score(tmp_path):
    with user_at_terminal(b"1\n0\n1\n", b"0.5\n", b"\n", b"\n", path=tmp_path / "said.jsonl") as (user, screen):
        assert user.answer(ASKED, "Yes.") == Reply(0.5)
        assert "got 3 lines at once and took none of them" in screen.getvalue()
    assert [record.score for record in read_records(tmp_path / "said.jsonl")] == [0.5]


def test_keys_pressed_before_a_question_answer_nothing():
    with user_at_terminal(b"0.5\n", b"\n", b"\n") as (user, screen):
        os.write(screen.keyboard, b"1\nall of this\nis early, and this has no end")
        assert user.answer(ASKED, "Yes.") == Reply(0.5)
        assert "typed before this question is left out" in screen.getvalue()
    with teacher_at_terminal(b"too high\n", b"\n") as (teacher, screen):
        os.write(screen.keyboard, b"fine so far\n/score 1\n/quit\n")
        assert teacher(STEP).text == "too high"
        os.write(screen.keyboard, b"for the step before")
        assert teacher(STEP) is None
        assert screen.answers == []


def test_pasted_lines_are_one_remark_about_one_step():
    with teacher_at_terminal(b"too far left\n\ngo up /score 0\n", b"\n", b"better\n") as (teacher, _):
        first = teacher(STEP)
        assert (first.text, first.score) == ("too far left\n\ngo up", 0.0)
        assert teacher(STEP) is None
        assert teacher(STEP).text == "better"


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (b"zu weit links \xfc\n", "can't decode byte 0xfc"),
        (b"\x1b[D\x1b[A left\n", "U+001B (an arrow key?)"),
        (b"left\x00\n", "U+0000"),
        (b"a\nb \xff\nc\n", "can't decode byte 0xff"),
        (b"x" * 5_000 + b"\n", "a terminal cuts longer ones"),
        (b"/skip inf\n", "/skip: got 'inf'"),
    ],
)
def test_what_is_no_text_is_asked_again_at_a_terminal(odd, said):
    with teacher_at_terminal(odd, b"left\n") as (teacher, screen):
        quiet = termios.tcgetattr(screen.keyboard)
        quiet[3] &= ~termios.ECHO  # nobody reads the echo of the long line
        termios.tcsetattr(screen.keyboard, termios.TCSANOW, quiet)
        assert teacher(STEP).text == "left"
        assert said in screen.getvalue()


def test_the_terminal_is_left_as_it_was():
    with teacher_at_terminal(b"left\nright\n", b"\n") as (teacher, screen):
        before = termios.tcgetattr(screen.keyboard)
        teacher(STEP)
        teacher(STEP)
        assert termios.tcgetattr(screen.keyboard) == before


def test_ctrl_d_ends_an_answer_and_quits_a_teacher():
    with user_at_terminal(b"1\n", b"\x04", b"Pears.\n") as (user, _):
        assert user.answer(ASKED, "Yes.") == Reply(1.0, None, "Pears.")
    with teacher_at_terminal(b"\x04", b"ignored\n") as (teacher, screen):
        assert [teacher(STEP), teacher(STEP)] == [None, None]
        assert screen.answers == [b"ignored\n"]


def test_a_terminal_that_hangs_up_is_the_end_of_the_input():
    keyboard, program = os.openpty()
    with open(program, encoding="utf-8") as typed:
        os.close(keyboard)
        assert ConsoleTeacher(gym.spaces.Discrete(2), source=typed, out=io.StringIO())(STEP) is None
        assert ConsoleUser(input_stream=typed, output_stream=io.StringIO()).answer(ASKED, "Yes.") == Reply()
