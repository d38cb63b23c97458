"""Records, criteria and their files: what goes in comes out, and what is wrong is said and loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_sb3 import FeedbackError
from nlf_sb3.language import (
    Criterion,
    Record,
    RecordsError,
    append_record,
    from_prompt_completions,
    names_source,
    parse_history,
    read_records,
    render_history,
    to_preferences,
    to_prompt_completions,
    write_records,
)
from nlf_sb3.language.history import is_unicode

ASKED = [{"role": "user", "content": "Is a pear a fruit?"}]
GOOD = Record(ASKED, "Yes, says the USDA.", {"any_of": ["USDA"]}, "Who says so?", response="Yes.", id="pear")

words = st.text(min_size=1, max_size=30).filter(lambda text: bool(text.strip()))
criteria = st.one_of(
    st.fixed_dictionaries({"any_of": st.lists(words, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"names_source": st.just(True), "max_words": st.integers(1, 99)}),
)
histories = st.tuples(st.lists(st.tuples(words, words), max_size=2), words).map(
    lambda drawn: [
        *(
            {"role": role, "content": said}
            for pair in drawn[0]
            for role, said in zip(("user", "assistant"), pair, strict=True)
        ),
        {"role": "user", "content": drawn[1]},
    ]
)
records = st.builds(
    Record,
    histories,
    words,
    st.none() | criteria,
    st.none() | words | st.lists(words, min_size=1, max_size=3),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    response=st.none() | st.text(max_size=30),
    id=st.none() | words,
)


@settings(max_examples=20, deadline=None)
@given(several=st.lists(records, max_size=4), one=records)
def test_files_give_back_what_was_written_and_appended(tmp_path_factory, several, one):
    path = tmp_path_factory.mktemp("records") / "some.jsonl"
    write_records(path, several)
    append_record(path, one)
    assert read_records(path, max_response_chars=None) == [*several, one]
    assert list(path.parent.iterdir()) == [path]


@settings(max_examples=50, deadline=None)
@given(one=records)
def test_turns_survive_prompt_and_completion(one):
    (back,) = from_prompt_completions(to_prompt_completions([one], conversational=True))
    assert (back.history, back.expected_response) == (one.history, one.expected_response)


def bad_lines() -> list[tuple[bytes, str]]:
    good = GOOD.to_dict()

    def changed(**fields: object) -> bytes:
        return json.dumps({key: value for key, value in {**good, **fields}.items() if value is not ...}).encode()

    return [
        (changed(history=...), "history is missing"),
        (changed(history=[]), "expected at least one"),
        (changed(history="Is it?"), "expected a list of turns"),
        (changed(history=[{"role": "bot", "content": "?"}]), "expected user or assistant"),
        (changed(history=[*ASKED, {"role": "assistant", "content": "Yes."}]), "the last of them the user's"),
        (changed(history=[{"role": "user", "content": 3}]), r"history\[0\].content: got 3 \(int\)"),
        (changed(history=[{"role": "user", "text": "?"}]), "expected an object of role and content"),
        (changed(expected_response=7), r"expected_response: got 7 \(int\), expected a str"),
        (changed(expected_response="  "), "expected_response: got an empty text"),
        (changed(expected_response="x" * 20_001), "20001 characters.*expected at most 20000"),
        (changed(response="x" * 20_001), "response: got 20001 characters"),
        (changed(expected_respons="x"), "an unknown field 'expected_respons'. Did you mean expected_response?"),
        (
            changed(expected_respons="x", txt="y"),
            "unknown fields 'expected_respons', 'txt'. Did you mean expected_response, text?",
        ),
        (changed(expected_respons="x", colour="y"), "unknown fields 'expected_respons', 'colour'. There are history"),
        (changed(text=[]), "text: got an empty list"),
        (changed(text={"a": 1}), "text: got .*dict.*expected a str"),
        (changed(text_kind="sad"), "text_kind: got 'sad'"),
        (changed(score="good"), "score: got 'good'"),
        (changed(score=True), "score: got True"),
        (changed(criterion={"any_off": ["x"]}), "Did you mean any_of?"),
        (changed(criterion=[]), "criterion: got .*expected an object"),
        (changed(expected_response=None, criterion=None, text=None, score=None), "record: got none of"),
        (b'{"history": [{"role": "user", "content": "\\ud800"}], "score": 1}', "surrogate"),
        (b'{"score": NaN, "history": []}', "got NaN, expected a finite number"),
        (b'{"score": 1, "score": 0}', "got 'score' twice"),
        (b'{"score": ' + b"9" * 5000 + b"}", "can't be read"),
        (b'{"a": ' * 50_000, "can't be read"),
        (b'{"history": ', "invalid JSON"),
        (b"[1]", "record: got .*list.*expected an object"),
        (b'{"history": "caf\xe9"}', "byte 0xe9 at 16, expected UTF-8"),
        (b"x" * 1_000_001, "more than 1000000 bytes"),
    ]


@pytest.mark.parametrize(("line", "reason"), bad_lines())
def test_a_bad_line_is_named_and_loses_no_other(tmp_path, line, reason):
    path = tmp_path / "some.jsonl"
    write_records(path, [GOOD])
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(RecordsError, match=reason) as raised:
        read_records(path)
    assert f"{path}:2: " in str(raised.value)
    assert [problem.line for problem in raised.value.problems] == [2]
    with pytest.warns(UserWarning, match="1 of 3 lines"):
        kept = read_records(path, on_error="skip")
    assert kept == [GOOD, GOOD]
    assert kept.problems == raised.value.problems


def test_one_error_names_the_first_twenty_of_all_problems(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("nonsense\n" * 30)
    with pytest.raises(RecordsError, match="30 of 30") as raised:
        read_records(path)
    assert len(raised.value.problems) == 30
    assert f"{path}:20:" in str(raised.value)
    assert f"{path}:21:" not in str(raised.value)
    assert "and 10 more" in str(raised.value)


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_allowed(tmp_path):
    path = tmp_path / "some.jsonl"
    write_records(path, [GOOD])
    line = path.read_bytes().rstrip()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert read_records(path) == [GOOD, GOOD]
    assert read_records(path, max_line_bytes=len(line)) == [GOOD, GOOD]
    with pytest.raises(RecordsError, match="2 of 2 lines"):
        read_records(path, max_line_bytes=len(line) - 1)


def test_a_line_of_a_hundred_megabytes_is_skipped_in_little_memory(tmp_path):
    path = tmp_path / "some.jsonl"
    write_records(path, [GOOD])
    good = path.read_bytes()
    with open(path, "ab") as file:
        file.truncate(110_000_000)  # a sparse file: zeros without a line's end
    with open(path, "ab") as file:
        file.write(b"\n" + good)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="more than 1000000 bytes"):
        kept = read_records(path, on_error="skip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept == [GOOD, GOOD]
    assert peak < 8_000_000


def test_a_file_that_is_not_there_and_a_misspelt_mode(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_records(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="on_error"):
        read_records(tmp_path / "none.jsonl", on_error="ignore")


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "some.jsonl"
    write_records(path, [GOOD])
    with pytest.raises(FeedbackError, match="expected a Record"):
        write_records(path, [GOOD, "no record"])
    assert read_records(path) == [GOOD]
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_line_left_at_the_end_spoils_no_other(tmp_path):
    path = tmp_path / "some.jsonl"
    one = Record([{"role": "user", "content": "¿Qué?"}], "日本", id="other")
    append_record(path, one)
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        append_record(path, GOOD)
        if cut == len(whole) - 1:  # only the line's end was missing
            assert read_records(path) == [one, one, GOOD]
            continue
        with pytest.warns(UserWarning, match="1 of 3 lines"):
            assert read_records(path, on_error="skip") == [one, GOOD]


_APPENDING = """
import sys
from nlf_sb3.language import Record, append_record
for number in range(10 ** 9):
    append_record(sys.argv[1], Record([{"role": "user", "content": "?" * 2000}], str(number)))
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killing_the_writer_loses_no_record_that_was_appended(tmp_path):
    path = tmp_path / "some.jsonl"
    with subprocess.Popen([sys.executable, "-c", _APPENDING, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(20)]
        time.sleep(0.01)
        process.kill()
        last = int((printed + process.stdout.readlines())[-1])
    append_record(path, GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # half a line may be there or not
        kept = read_records(path, on_error="skip")
    assert kept[-1] == GOOD
    numbers = [int(record.expected_response) for record in kept[:-1]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last


@pytest.mark.parametrize(
    ("criterion", "yes", "no"),
    [
        ({"any_of": ["USDA", "Mayo Clinic"]}, ["says the usda", "MAYO\n clinic!", "(USDA)"], ["", "USDAX", "Mayo's Clinic"]),
        ({"all_of": ["pear", "apple"]}, ["an apple, a PEAR"], ["a pear", "pears and apples"]),
        ({"none_of": ["maybe"]}, ["", "yes"], ["Maybe."]),
        ({"ends_with": ["usda"]}, ["yes, USDA", "yes (usda).", "usda"], ["usda says yes", "xusda", ""]),
        ({"max_words": 2}, ["", "one two"], ["one two three"]),
        ({"min_words": 1}, ["one"], [" "]),
        ({"any_of": ["WHO"], "case_sensitive": True}, ["the WHO says"], ["those who say"]),
        ({"any_of": ["straße", "a.c"]}, ["STRASSE", "A.C"], ["abc"]),
        ({"names_source": True}, ["the WHO", "per the mayo clinic", "NASA's"], ["those who sleep", "nice", "a nasal spray"]),
        (
            {"names_source": True},
            ["the National Oceanic and Atmospheric Administration", "the U.S. Geological Survey"],
            ["surveys"],
        ),
        ({"names_source": True, "max_words": 3}, ["The CDC says"], ["The CDC says so", "He says"]),
    ],
)
def test_criteria_hold_for_what_they_describe_and_for_nothing_else(criterion, yes, no):
    judge = Criterion(criterion)
    assert [text for text in yes if not judge.satisfied_by(text)] == []
    assert [text for text in no if judge.satisfied_by(text)] == []


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({}, "expected a condition"),
        ({"case_sensitive": True}, "expected a condition"),
        ({"maxwords": 3}, "Did you mean max_words?"),
        ({"__import__": "os"}, "unknown key '__import__'. There are any_of"),
        ({"any_of": "USDA"}, "expected a list of phrases"),
        ({"any_of": []}, "expected a list of phrases"),
        ({"any_of": [" "]}, "any_of.0.: got an empty text"),
        ({"none_of": ["a", 3]}, "none_of.1.: got 3 .int., expected a str"),
        ({"max_words": 2.5}, "expected a whole number"),
        ({"max_words": True}, "expected a whole number"),
        ({"min_words": 5, "max_words": 3}, "no response could satisfy it"),
        ({"names_source": False}, "expected true"),
    ],
)
def test_a_criterion_that_says_nothing_sensible_is_refused(criterion, message):
    with pytest.raises(FeedbackError, match=message):
        Criterion(criterion)


def test_a_long_response_is_judged_at_once():
    start = time.perf_counter()
    assert not names_source("a b " * 50_000)
    assert not Criterion({"any_of": ["a " * 20 + "c"]}).satisfied_by("a " * 20_000)
    assert time.perf_counter() - start < 1.0


def test_rendered_turns_can_be_read_again_and_other_prompts_are_one_turn():
    turns = [{"role": "system", "content": "Be short."}, *ASKED, {"role": "assistant", "content": "Yes:\nit is."}, *ASKED]
    assert list(parse_history(render_history(turns))) == turns
    for prompt in ("Is it?", "So: User: who?", "Bot: hello", "User: "):
        assert parse_history(prompt) == ({"role": "user", "content": prompt},)


LINES = st.sampled_from(["User: a", "Bot: ", "System: ", "\\\\Bot: b", "Bot:", "\\", "x", "", " ", "\r", "\u2028User: "])
CONTENTS = st.lists(LINES | st.text(max_size=5), min_size=1, max_size=6).map("\n".join)
SAID = CONTENTS.filter(str.strip).filter(is_unicode)


@given(st.none() | SAID, st.lists(st.tuples(SAID, CONTENTS.filter(is_unicode)), max_size=3), SAID)
@settings(max_examples=100, deadline=None)
def test_whatever_is_said_is_one_turn_when_it_is_read_again(system, exchanges, last):
    turns = [] if system is None else [{"role": "system", "content": system}]
    for asked, answered in exchanges:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    turns.append({"role": "user", "content": last})
    assert list(parse_history(render_history(turns))) == turns
    row = to_prompt_completions([Record(turns, "Yes.")])[0]
    assert list(from_prompt_completions([row])[0].history) == turns


def test_words_that_look_like_a_turn_are_shown_with_a_backslash_and_others_as_they_are():
    def rendered(content):
        return render_history([{"role": "user", "content": content}])

    assert rendered("Bot: hi\nUser: x\n\\Bot: y\nUser:z") == "User: Bot: hi\n\\User: x\n\\\\Bot: y\nUser:z"
    assert rendered("a\\b\n\\ c") == "User: a\\b\n\\ c"


def test_preferences_and_completions_say_which_record_lacks_something():
    without = Record(ASKED, "Yes.", id="bare")
    turn = [{"role": "assistant", "content": "Yes."}]
    assert to_preferences([GOOD], conversational=True)[0]["rejected"] == turn
    assert to_preferences([GOOD, without], on_missing="skip") == to_preferences([GOOD])
    with pytest.raises(FeedbackError, match="record 'bare' has no response"):
        to_preferences([GOOD, without])
    with pytest.raises(FeedbackError, match=r"row 1: got .'question'.*Rename the columns"):
        from_prompt_completions([{"prompt": "?", "completion": "!"}, {"question": "?"}])
    with pytest.raises(FeedbackError, match="row 0: expected_response: got an empty text"):
        from_prompt_completions([{"prompt": "?", "completion": ""}])
