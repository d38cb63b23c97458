"""Remarks of many families are read as their speakers mean them, also those that nobody tuned on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from nlf_sb3.text import ActionNames, Dimension, Remarks, RuleInterpreter
from nlf_sb3.text.agreement import Agreement, features_of, names_direction
from nlf_sb3.text.tokens import Tokenizer

DATA = Path(__file__).parent / "data" / "remarks"
CART = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("push", low="left", high="right")])
ARM = ActionNames(
    spaces.Box(-1, 1, (2,)),
    [Dimension("arm", low="down", high="up"), Dimension("gripper", low=("close", "closed"), high=("open", "opened"))],
)
STEERING = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("wheel", low="port", high="starboard")])
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "down": (0, -1), "up": (0, 1), "close": (1, -1), "open": (1, 1)}
UNSURE = 0.2


def read(names, text, taken):
    corrections = RuleInterpreter(names).interpret(Remarks([text], [None], np.asarray(taken, dtype=float)[None]))
    return corrections.directions[0].tolist(), float(corrections.valences[0]), float(corrections.confidences[0])


def judge(interpreters, row):
    """Whether a remark was read right, and whether it was read the wrong way with confidence."""
    wants = [row["want"]] if isinstance(row["want"], str) else row["want"]
    names = ARM if {"up", "down", "open", "close", "none-arm"} & set(wants) else CART
    wanted, taken = np.zeros(names.n_dimensions), np.zeros(names.n_dimensions)
    for want in wants:
        if want in DIRECTIONS:
            dimension, direction = DIRECTIONS[want]
            wanted[dimension], taken[dimension] = direction, -0.5 * direction
    if row.get("taken"):
        dimension, direction = DIRECTIONS[row["taken"]]
        taken[dimension] = 0.5 * direction
    corrections = interpreters[id(names)].interpret(Remarks([row["text"]], [None], taken[None]))
    directions, confidence = corrections.directions[0], corrections.confidences[0]
    is_read = confidence > UNSURE
    if wants[0] in ("praise", "blame"):
        valence = corrections.valences[0] * (1 if wants[0] == "praise" else -1)
        return valence > 0, is_read and valence < 0
    if wants[0].startswith("none"):
        return not directions.any() or not is_read, directions.any() and is_read
    return (directions == wanted).all() and confidence > 0, is_read and (directions * wanted < 0).any()


def judged(file):
    interpreters = {id(names): RuleInterpreter(names) for names in (CART, ARM)}
    rows = [json.loads(line) for line in (DATA / file).read_text(encoding="utf-8").splitlines()]
    return [(row, *judge(interpreters, row)) for row in rows]


@pytest.mark.parametrize(
    ("file", "least_right"),
    [("tuned_0", 1.0), ("tuned_1", 0.97), ("tuned_2", 0.97), ("tuned_3", 0.9), ("tuned_4", 0.9), ("tuned_5", 0.85)],
)
def test_remarks_that_the_reader_was_tuned_on(file, least_right):
    results = judged(f"{file}.jsonl")
    assert len(results) > 25
    assert [row["text"] for row, _, is_wrong in results if is_wrong] == []
    assert np.mean([is_right for _, is_right, _ in results]) >= least_right


def test_remarks_that_were_held_back():
    results = judged("held_back.jsonl")
    assert len(results) == 240
    # As docs/text.md says.
    assert sum(is_right for _, is_right, _ in results) >= 228
    assert sum(is_wrong for _, _, is_wrong in results) <= 2


@pytest.mark.parametrize(
    ("text", "taken", "direction"),
    [
        # too much of it
        ("You went left too much.", -0.5, 1),
        ("your swing to the left was well over the odds", -0.5, 1),
        ("more left than anyone needed", -0.5, 1),
        # not enough of it
        ("not far enough right", 0.5, 1),
        ("that was hardly left at all", -0.5, -1),
        # what did not happen
        ("You never went left.", 0.5, -1),
        ("nobody pushed right", -0.5, 1),
        ("no push to the left was made", 0.5, -1),
        # forbidding what forbids
        ("don't hesitate to go left", 0.5, -1),
        ("there's no law against moving left", 0.5, -1),
        ("nothing is stopping you from going right", -0.5, 1),
        ("I would not scold you for going right", -0.5, 1),
        # questions
        ("Shouldn't you have gone left?", 0.5, -1),
        ("isn't it time to go right?", -0.5, 1),
        ("you should go left, right?", 0.5, -1),
        ("didn't I say not to go left?", -0.5, 1),
        # taken back
        ("go right... uh sorry I mean left", 0.5, -1),
        # compared
        ("left would've been less of a disaster than right was", 0.5, -1),
        # what else would happen
        ("better go left or the pole will fall", 0.5, -1),
    ],
)
def test_families_of_remarks(text, taken, direction):
    directions, _, confidence = read(CART, text, [taken])
    assert directions == [direction]
    assert confidence > 0


@pytest.mark.parametrize(
    "text", ["how many tries are left?", "There's nothing left of my coffee", "the cart is sitting rather far to the left"]
)
def test_other_senses_and_states_ask_for_nothing(text):
    directions, _, confidence = read(CART, text, [0.5])
    assert directions == [0] or confidence <= UNSURE


@pytest.mark.parametrize(
    ("text", "direction"), [("you never turned to port", -1), ("don't hesitate to go starboard", 1), ("too far to port", 1)]
)
def test_families_hold_for_other_names(text, direction):
    assert read(STEERING, text, [-0.5 * direction])[0] == [direction]


def test_a_direction_that_the_second_opinion_disputes_is_doubted():
    tokens = Tokenizer(CART).tokens("No left from you this time. I had hoped for one.")
    assert Agreement().probability(tokens, 0, 1) < 0.3
    assert read(CART, "No left from you this time. I had hoped for one.", [0.5])[2] <= UNSURE
    assert Agreement().probability(Tokenizer(CART).tokens("go left"), 0, -1) > 0.9


def test_a_mirrored_remark_has_the_features_of_the_opposite_one():
    tokenizer = Tokenizer(CART)
    left, right = tokenizer.tokens("not so far left, please"), tokenizer.tokens("not so far right, please")
    for mine, mirrored in zip(features_of(left, 0), features_of(right, 0, is_mirrored=True), strict=True):
        assert np.array_equal(mine, mirrored)
    assert not np.array_equal(features_of(left, 0)[0], features_of(right, 0)[0])
    assert np.square(features_of(left, 0)[1]).sum() == pytest.approx(1)


def test_directions_are_those_of_the_dimension_in_question():
    tokens = Tokenizer(ARM).tokens("lift it and let go")
    assert names_direction(tokens, 0)
    assert names_direction(tokens, 1)
    assert not names_direction(Tokenizer(ARM).tokens("lift it"), 1)
    assert not np.array_equal(features_of(tokens, 0)[0], features_of(tokens, 1)[0])
