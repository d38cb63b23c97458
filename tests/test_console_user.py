"""A person who answers responses through a stream: pasted lines, odd numbers, odd bytes and interruptions."""

from __future__ import annotations

import io

import pytest

from nlf_sb3 import FeedbackError
from nlf_sb3.language import ConsoleUser, Reply, read_records

ASKED = [{"role": "user", "content": "What should I eat?"}]
USDA = "According to the USDA, yes.\n\nIt has 6 g of fibre.\n\n1"


def user_of(typed, **options):
    source = io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8") if isinstance(typed, bytes) else io.StringIO(typed)
    out = io.StringIO()
    return ConsoleUser(input_stream=source, output_stream=out, **options), out


@pytest.mark.parametrize(
    ("typed", "replies"),
    [
        ("0\nbad\nEat:\n1\n2\n3\n", [Reply(0.0, "bad", "Eat:\n1\n2\n3"), Reply()]),
        (f"0\nno source\n{USDA}\n\n\n", [Reply(0.0, "no source", USDA), Reply()]),
        ("0\nbad\nEat:\n1\n.\n1\n\n\n", [Reply(0.0, "bad", "Eat:\n1"), Reply(1.0)]),
        ("0\r\nbad\r\nEat:\r\n 1\r\n . \r\n1\r\n", [Reply(0.0, "bad", "Eat:\n 1"), Reply(1.0)]),
        ("\n\n.\n0.5\n\n\n", [Reply(), Reply(0.5)]),
        ("0\nbad\n\n1\n\n\n", [Reply(0.0, "bad"), Reply(1.0)]),
        ("0\nbad\nEat.", [Reply(0.0, "bad", "Eat."), Reply()]),
    ],
)
def test_an_expected_response_of_many_lines_is_one_answer(typed, replies, tmp_path):
    user, _ = user_of(typed, path=tmp_path / "said.jsonl")
    assert [user.answer(ASKED, response) for response in ("Yes.", "No.")] == replies
    kept = read_records(tmp_path / "said.jsonl")
    assert [Reply(one.score, one.text, one.expected_response) for one in kept] == [one for one in replies if one != Reply()]


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "inf",
            "-inf",
            "nan",
            "1e999",
            "1,5",
            "0,5",
            "0x1",
            "0_1",
            "1/2",
            "50%",
            "1 0",
            "Eat:",
            "-1",
            "1.01",
            "\u0661\u0660",
            "--1",
            "1e",
            ".",
        )
    ],
)
def test_what_is_no_score_is_asked_again(typed):
    user, out = user_of(f"{typed}\n0.25\n\n\n")
    assert user.answer(ASKED, "Yes.") == Reply(0.25)
    assert out.getvalue().count("Score from 0 to 1") == 2
    assert "expected a number from 0 to 1, or Enter for none" in out.getvalue()


@pytest.mark.parametrize(
    ("typed", "score"), [(" 1 ", 1.0), ("-0", 0.0), ("5e-1", 0.5), (".5", 0.5), ("\uff11", 1.0), ("+1.", 1.0)]
)
def test_numbers_are_what_they_say(typed, score):
    reply = user_of(f"{typed}\n\n\n")[0].answer(ASKED, "Yes.")
    assert str(reply.score) == str(score)


@pytest.mark.parametrize("bad", [b"\xfc", b"a\x00b", b"\x1b[D", b"\xed\xa0\x80", b"x" * 100_000, b"\xe2\x82"])
def test_odd_bytes_are_asked_again_and_the_answers_after_them_stay_in_order(bad, tmp_path):
    typed = b"\n".join(
        [bad, b"0", bad, bad, b"No source.", b"Eat:", bad, b"1", b".", b"Pears.", b"Figs.", b".", b"1", b"", b""]
    )
    user, out = user_of(typed, path=tmp_path / "said.jsonl")
    assert user.answer(ASKED, "Yes.") == Reply(0.0, "No source.", "Pears.\nFigs.")
    assert user.answer(ASKED, "No.") == Reply(1.0)
    assert len(read_records(tmp_path / "said.jsonl")) == 2
    assert out.getvalue().count("What did you expect?") == 3


def test_an_answer_is_bounded_as_a_whole(tmp_path):
    typed = "0\nbad\n" + ("many words\n" * 2_000) + ".\nFew.\n.\n"
    user, out = user_of(typed, path=tmp_path / "said.jsonl")
    assert user.answer(ASKED, "Yes.") == Reply(0.0, "bad", "Few.")
    assert "got more than 20,000 characters" in out.getvalue()
    assert len(read_records(tmp_path / "said.jsonl")) == 1


class Interrupted(io.StringIO):
    """An input where Ctrl-C is pressed at its end."""

    def readline(self, *arguments: int) -> str:
        line = super().readline(*arguments)
        if not line:
            raise KeyboardInterrupt
        return line


def test_half_an_answer_is_not_kept_when_it_is_interrupted(tmp_path):
    user = ConsoleUser(
        path=tmp_path / "said.jsonl", input_stream=Interrupted("0\nbad\nEat:\n1\n"), output_stream=io.StringIO()
    )
    with pytest.raises(KeyboardInterrupt):
        user.answer(ASKED, "Yes.")
    (record,) = read_records(tmp_path / "said.jsonl")
    assert (record.score, record.text, record.expected_response) == (0.0, "bad", None)


def test_what_a_file_cant_hold_is_refused_before_anybody_answers(tmp_path):
    user, out = user_of("0\nbad\n\n", path=tmp_path / "said.jsonl")
    with pytest.raises(FeedbackError, match="half of a surrogate pair"):
        user.answer(ASKED, "\ud800")
    assert out.getvalue() == ""


def test_words_of_every_script_are_shown_whole():
    user, out = user_of("")
    user.answer(ASKED, "食べて\u3000いい 👩\u200d🍳 na\u00a0ja")
    assert "食べて\u3000いい 👩\u200d🍳 na\u00a0ja" in out.getvalue()
