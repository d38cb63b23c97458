"""Users: simulated by criteria, played back from recordings, or a person at a terminal."""

from __future__ import annotations

import io
import os
import select
import sys

import pytest

from nlf_sb3 import FeedbackError
from nlf_sb3.language import (
    ConsoleUser,
    Record,
    RecordedUser,
    Reply,
    SimulatedUser,
    append_record,
    read_records,
    render_history,
)

ASKED = [{"role": "user", "content": "Is a pear a fruit?"}]
PEAR = Record(ASKED, "Yes, says the USDA.", {"any_of": ["USDA"]}, ["Who says so?", "A source, please.", "Says who?"])


def test_a_simulated_user_draws_its_words_from_its_own_seeded_generator():
    def said(seed: int) -> list[Reply]:
        user = SimulatedUser([PEAR])
        user.seed(seed)
        return [user.answer(ASKED, "Yes.") for _ in range(50)]

    assert said(1) == said(1) != said(2)
    assert {reply.text for reply in said(1)} == set(PEAR.texts)
    assert {reply.expected_response for reply in said(1)} == {PEAR.expected_response}


def test_sparse_feedback_keeps_the_score_and_thins_words_and_expected_responses():
    user = SimulatedUser([PEAR], shows_expected=0.25, speaks=0.5)
    replies = [user.answer(ASKED, "Yes.") for _ in range(2_000)]
    assert {reply.score for reply in replies} == {0.0}
    assert 400 < sum(reply.expected_response is not None for reply in replies) < 600
    assert 900 < sum(reply.text is not None for reply in replies) < 1_100
    assert SimulatedUser([PEAR], shows_expected=False, speaks=False).answer(ASKED, "Yes.") == Reply(score=0.0)
    with pytest.raises(ValueError, match=r"speaks: got 1\.5"):
        SimulatedUser([PEAR], speaks=1.5)


def test_what_a_simulated_user_says_next_does_not_depend_on_the_last_answer():
    first, second = SimulatedUser([PEAR]), SimulatedUser([PEAR])
    first.answer(ASKED, "Yes.")
    second.answer(ASKED, "Yes, says the USDA.")
    assert [first.answer(ASKED, "") for _ in range(20)] == [second.answer(ASKED, "") for _ in range(20)]


def test_a_longer_conversation_belongs_to_the_record_with_the_longest_beginning():
    longer = [*ASKED, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And a nut?"}]
    nut = Record(longer, "No, says the NIH.", {"any_of": ["NIH"]})
    user = SimulatedUser([PEAR, nut])
    asked_again = [{"role": "assistant", "content": "No."}, {"role": "user", "content": "Who says so?"}]
    assert user.answer([*longer, *asked_again], "The NIH.").score == 1.0
    assert user.answer([*ASKED, *asked_again], "The NIH.").score == 0.0


def test_a_simulated_user_refuses_what_it_cannot_judge():
    with pytest.raises(FeedbackError, match="record 0 has no criterion"):
        SimulatedUser([Record(ASKED, "Yes.")])
    with pytest.raises(FeedbackError, match="record 1 has the history of another record"):
        SimulatedUser([PEAR, Record(ASKED, "No.", {"any_of": ["no"]})])
    with pytest.raises(FeedbackError, match="no record begins like"):
        SimulatedUser([PEAR]).answer([{"role": "user", "content": "Hello?"}], "Hello!")
    with pytest.raises(FeedbackError, match="records: got none"):
        SimulatedUser([])
    with pytest.raises(FeedbackError, match="Read a file with read_records"):
        SimulatedUser("records.jsonl")


def test_recorded_feedback_is_played_back_and_nothing_else_is_made_up(tmp_path):
    path = tmp_path / "recorded.jsonl"
    append_record(path, Record(ASKED, score=0.2, response="Yes."))
    append_record(path, Record(ASKED, "Yes, says the USDA.", None, "Who says so?", score=0.3, response=" Yes. "))
    user = RecordedUser(path)
    assert user.answer(ASKED, "Yes.") == Reply(0.3, "Who says so?", "Yes, says the USDA.")
    assert user.answer(ASKED, "Yes!") == Reply()
    append_record(path, PEAR)
    with pytest.raises(FeedbackError, match="record 2 has no response"):
        RecordedUser(path)


def test_a_recording_with_half_a_line_can_be_played_back(tmp_path):
    path = tmp_path / "recorded.jsonl"
    append_record(path, Record(ASKED, score=0.2, response="Yes."))
    path.write_bytes(path.read_bytes() + b'{"history": [{"ro')
    with pytest.warns(UserWarning, match="1 of 2 lines"):
        assert RecordedUser(path, on_error="skip").answer(ASKED, "Yes.").score == 0.2


def asked(typed: str, response: str = "Yes.", **options: object) -> tuple[Reply, str]:
    output = io.StringIO()
    reply = ConsoleUser(input_stream=io.StringIO(typed), output_stream=output, **options).answer(ASKED, response)
    return reply, output.getvalue()


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("0\nWho says so?\nYes, says the USDA.\n", Reply(0.0, "Who says so?", "Yes, says the USDA.")),
        ("\n\n\n", Reply()),
        ("", Reply()),
        ("0.5", Reply(0.5)),
        ("bad\n2\nnan\n\u0663\x00\n 1 \n\n\n", Reply(1.0)),
        ("\n¿Quién?\n", Reply(text="¿Quién?")),
        ("1\nhalf \ud800\nwhole\n\n", Reply(1.0, "whole")),
    ],
)
def test_a_person_answers_as_much_as_they_like(typed, reply):
    assert asked(typed)[0] == reply


def test_a_score_outside_the_range_is_asked_again():
    reply, shown = asked("7\n4\n\n\n", low=1, high=5)
    assert reply == Reply(4.0)
    assert "got '7', expected a number from 1 to 5" in shown
    assert shown.count("Score from 1 to 5") == 2
    with pytest.raises(ValueError, match="low, high"):
        ConsoleUser(low=1.0, high=1.0)


def test_bytes_that_are_no_text_are_refused_and_asked_again():
    output = io.StringIO()
    typed = io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8")
    assert ConsoleUser(input_stream=typed, output_stream=output).answer(ASKED, "Yes.") == Reply()
    assert "can't decode byte 0xff" in output.getvalue()


def test_a_response_cannot_steer_the_terminal():
    shown = asked("", "\x1b[2Jgone\r[bold]\ud800")[1]
    assert "\x1b" not in shown
    assert "\ufffd[2Jgone\ufffd[bold]\ufffd" in shown
    assert render_history(ASKED) in shown


def test_each_answer_of_a_person_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "said.jsonl"
    user = ConsoleUser(path=path, input_stream=io.StringIO("0\nWho?\n\n\n\n\n1\n"), output_stream=io.StringIO())
    user.answer(ASKED, "Yes.")
    assert read_records(path) == [Record(ASKED, None, None, "Who?", score=0.0, response="Yes.", source="console")]
    user.answer(ASKED, "silence leaves no record")
    user.answer(ASKED, "")
    assert [record.response for record in read_records(path)] == ["Yes.", ""]
    assert RecordedUser(path).answer(ASKED, "Yes.") == Reply(0.0, "Who?")


class InterruptedInput(io.StringIO):
    """An input where Ctrl-C is pressed instead of an empty second line."""

    def readline(self, *args: object) -> str:
        line = super().readline()
        if not line:
            raise KeyboardInterrupt
        return line


def test_what_was_said_before_an_interruption_is_kept(tmp_path):
    path = tmp_path / "said.jsonl"
    user = ConsoleUser(path=path, input_stream=InterruptedInput("0.5\n"), output_stream=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        user.answer(ASKED, "Yes.")
    assert [record.score for record in read_records(path)] == [0.5]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_on_a_terminal_the_response_is_shown_as_it_is(monkeypatch):
    pytest.importorskip("rich")
    reader, writer = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(writer, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert ConsoleUser(input_stream=io.StringIO("1\n")).answer(ASKED, "[red]Yes[/red]").score == 1.0
        monkeypatch.undo()
        shown = b""
        while b"What did you expect?" not in shown and select.select([reader], [], [], 5.0)[0]:  # it comes in pieces
            shown += os.read(reader, 10_000)
    os.close(reader)
    assert b"[red]Yes[/red]" in shown
    assert b"Score from 0 to 1" in shown
