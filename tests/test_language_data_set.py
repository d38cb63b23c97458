"""The data set that comes with the package: complete, sourced, split and judged as it should be."""

from __future__ import annotations

from collections import Counter

import pytest

from nlf_sb3.language import (
    ConversationEnv,
    Criterion,
    from_prompt_completions,
    load_health_and_science,
    render_history,
    to_preferences,
    to_prompt_completions,
    unrelated_text,
)

ALL = load_health_and_science()
TRAIN, HELD_OUT = load_health_and_science("train"), load_health_and_science("held_out")


def test_there_are_enough_questions_and_every_one_is_in_one_split():
    assert len(ALL) >= 130
    assert len(HELD_OUT) >= 44
    assert [record for record in ALL if record.split == "train"] == TRAIN
    assert len(TRAIN) + len(HELD_OUT) == len(ALL)
    with pytest.raises(ValueError, match="split: got 'test'"):
        load_health_and_science("test")  # type: ignore[arg-type]


@pytest.mark.parametrize("record", ALL, ids=lambda record: record.id)
def test_the_expected_response_satisfies_and_the_plain_one_does_not(record):
    criterion = Criterion(record.criterion)
    assert criterion.satisfied_by(record.expected_response)
    assert not criterion.satisfied_by(record.response)
    assert not criterion.satisfied_by(render_history(record.history))
    assert all(not criterion.satisfied_by(other) for other in ("", "I don't know.", "Experts say that it is so."))
    assert 12 <= len(record.expected_response.split()) <= 36
    assert len(record.response.split()) <= 14
    texts = [record.expected_response, record.response, *record.texts, *(turn["content"] for turn in record.history)]
    assert all(text.isascii() and text == text.strip() and "\n" not in text for text in texts)


def test_nothing_is_asked_or_answered_twice():
    for of_record in (
        lambda record: record.id,
        lambda record: render_history(record.history).casefold(),
        lambda record: record.expected_response.casefold(),
    ):
        assert [thing for thing, count in Counter(map(of_record, ALL)).items() if count > 1] == []


def test_held_out_answers_share_no_long_run_of_words_with_training_ones():
    def runs(records: list) -> set[tuple[str, ...]]:
        said = [record.expected_response.casefold().split() for record in records]
        return {tuple(words[start : start + 8]) for words in said for start in range(len(words) - 7)}

    assert runs(TRAIN) & runs(HELD_OUT) == set()


def test_the_user_finds_many_ways_to_say_it():
    assert len({text for record in ALL for text in record.texts}) >= 30


def test_the_first_record_is_the_fibre_conversation():
    first = TRAIN[0]
    assert [turn["content"] for turn in first.history] == [
        "What are the best food sources for fiber in an American diet?",
        "Raspberries, pears, apples, green peas, and broccoli are known for having high fiber.",
        "That's helpful, but can you provide a source for that information?",
    ]
    assert first.response == "I don't have a source, but many fruits and vegetables are high in fiber."
    assert first.text == "Please provide a source, like Mayo Clinic or USDA."
    assert first.expected_response == (
        "As per the USDA Nutrient Database, fruits such as raspberries, pears, and apples, and vegetables like green peas "
        "and broccoli are high in fiber."
    )


def test_every_question_can_be_played():
    env = ConversationEnv(ALL)
    for index, record in enumerate(ALL):
        env.reset(options={"record": index})
        assert env.step(record.response)[4]["expected_response"] == record.expected_response
        env.reset(options={"record": index})
        assert env.step(record.expected_response)[1] == 1.0


def test_every_question_is_a_preference_and_a_completion():
    assert len(to_preferences(ALL)) == len(ALL)
    back = from_prompt_completions(to_prompt_completions(ALL))
    assert [record.history for record in back] == [record.history for record in ALL]
    assert [record.expected_response for record in back] == [record.expected_response for record in ALL]


def test_the_unrelated_prose_is_long_plain_and_unrelated():
    text = unrelated_text()
    assert 1_100 < len(text.split()) < 1_400
    assert text.isascii()
    assert not Criterion({"names_source": True}).satisfied_by(text)
