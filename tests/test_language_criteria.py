# ruff: noqa: RUF001 - these texts are about characters that look alike
"""Phrases are found as people write them: marked, in any script, with any apostrophe; and only where they are meant."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlf_sb3 import FeedbackError
from nlf_sb3.language import Criterion, names_source

HOLDS = [
    ("USDA", "_USDA_ says"),
    ("USDA", "__USDA__, **so**"),
    ("USDA", "see usda_report"),
    ("USDA", "`USDA`"),
    ("USDA", "USDA¹ says, ①USDA"),
    ("USDA", "ＵＳＤＡ says"),
    ("USDA", "𝐔𝐒𝐃𝐀 says"),
    ("USDA", "US\u200bDA"),
    ("USDA", "the\u200bUSDA\u200bsays"),
    ("USDA", "USDA™"),
    ("Mayo Clinic", "the __Mayo__ Clinic"),
    ("Mayo Clinic", "Mayo\u00a0Clinic"),
    ("Mayo Clinic", "May\u00ado Cli\u00adnic"),
    ("苹果", "我喜欢吃苹果了"),
    ("iPhone手机", "我买iPhone手机吧"),
    ("USDA", "根据USDA的数据"),
    ("USDA", "USDAによると"),
    ("りんご", "私はりんごが好きです"),
    ("カロリー", "低ｶﾛﾘｰです"),
    ("กล้วย", "ฉันชอบกินกล้วยมาก"),
    ("ចេក", "ខ្ញុំចូលចិត្តចេកណាស់"),
    ("ກ້ວຍ", "ຂ້ອຍມັກກ້ວຍຫຼາຍ"),
    ("ငှက်ပျောသီး", "ကျွန်တော်ငှက်ပျောသီးကြိုက်တယ်"),
    ("사과", "저는 사과를 좋아해요"),
    ("USDA", "USDA에 따르면"),
    *(("don't know", f"I don{mark}t know.") for mark in "'’‘ʼ′＇`´"),
    ("don’t know", "I don't know."),
    ("l’eau", "de l'eau"),
    ("cafe\u0301", "Café."),
    ("STRASSE", "die Straße"),
    ("istanbul", "İstanbul, ISTANBUL"),
    ("ışık", "IŞIK"),
    ("ΟΔΟΣ", "οδος"),
    ("high-fiber", "high‑fiber, high–fiber"),
    ("ﬁber", "fiber"),
    ("CO2", "CO₂"),
    ("?", "Really?"),
    ("C++", "C++11"),
    ("a a", "ba a a"),
]
FAILS = [
    ("USDA", "USDAX, xusda, USDA2"),
    ("pear", "pears, spear"),
    ("cafe", "Café"),
    ("क", "के"),
    ("x", "x̂"),
    ("사과", "청사과"),
    ("苹果", "苹 果树"),
    ("Mayo Clinic", "Mayo's Clinic"),
    ("us", "USDA"),
]


@pytest.mark.parametrize(("phrase", "text"), HOLDS)
def test_a_phrase_is_found_however_it_is_written(phrase, text):
    assert Criterion({"any_of": [phrase]}).satisfied_by(text)
    assert Criterion({"all_of": [phrase, phrase]}).satisfied_by(text)
    assert not Criterion({"none_of": [phrase]}).satisfied_by(text)


@pytest.mark.parametrize(("phrase", "text"), FAILS)
def test_a_phrase_is_not_found_within_other_words(phrase, text):
    assert not Criterion({"any_of": [phrase]}).satisfied_by(text)
    assert Criterion({"none_of": [phrase]}).satisfied_by(text)


@pytest.mark.parametrize("text", ["yes, _USDA_", "so says **USDA**.", "这是USDA。", "yes (USDA) ❤️", "USDA\u200b"])
def test_a_phrase_is_last_whatever_marks_follow(text):
    assert Criterion({"ends_with": ["usda"]}).satisfied_by(text)
    assert not Criterion({"ends_with": ["usda"]}).satisfied_by(f"{text} 好")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("我喜欢吃苹果因为它们很健康", 13),
        ("USDA说，苹果 is good。", 6),
        ("りんご。", 3),
        ("กินดี", 3),
        ("a - b", 3),
        ("one\u00adtwo \u200b three", 2),
        ("사과를 먹었다", 2),
        ("", 0),
    ],
)
def test_words_are_counted_in_any_script(text, count):
    assert Criterion({"min_words": count, "max_words": count}).satisfied_by(text)
    assert not Criterion({"min_words": count + 1}).satisfied_by(text)


@pytest.mark.parametrize(
    "text",
    [
        "*USDA* says",
        "_USDA_ says",
        "__Mayo Clinic__ says",
        "根据USDA的数据",
        "USDAによると",
        "USDA에 따르면",
        "the USDA’s data",
        "the CDCs' advice",
        "ＮＡＳＡ",
        "United Nations Children’s Fund",
        "the AHA recommends it",
        "(AHA)",
        "AHA guidelines say",
        "Source: AHA.",
        "says the WHO!",
        "WHO: yes.",
        "ACCORDING TO THE CDC THIS IS SO",
        "WHO, in its guidance, agrees",
    ],
)
def test_a_source_is_named_however_it_is_written(text):
    assert names_source(text)


@pytest.mark.parametrize(
    "text",
    [
        "AHA! I see.",
        "Well, AHA! I see.",
        "Aha.",
        "AHA, so it is.",
        "An AHA moment.",
        "who says so?",
        "WHO SAYS SO?",
        "WHO? Me?",
        "NICE!",
        "THAT IS A NICE PEAR",
        "let us see",
        "USDAX",
        "a nasal spray",
    ],
)
def test_no_source_is_named_by_other_words(text):
    assert not names_source(text)


def test_a_phrase_that_cannot_be_seen_is_refused():
    with pytest.raises(FeedbackError, match=r"criterion.any_of\[1\]: got .*, expected something that can be seen"):
        Criterion({"any_of": ["a", "\u200b\u00ad"]})


@given(st.text(max_size=40).filter(str.strip), st.text("ab _*'’\n", max_size=10), st.text(max_size=10))
def test_a_phrase_between_spaces_is_always_found(phrase, before, after):
    try:
        criterion = Criterion({"any_of": [phrase]})
    except FeedbackError:
        return
    assert criterion.satisfied_by(f"{before} . {phrase} . {after}")


@pytest.mark.parametrize("text", ["a b " * 50_000, "苹 果" * 50_000, "a" + "*" * 100_000, "_ " * 100_000, "WHO? " * 20_000])
def test_long_texts_are_judged_at_once(text):
    start = time.perf_counter()
    assert not names_source(text)
    assert not Criterion({"any_of": ["苹果", "a " * 20 + "c"]}).satisfied_by(text)
    assert time.perf_counter() - start < 2.0
