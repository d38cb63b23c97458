"""The Feedback record: what it takes, what it refuses, and that it can be shared without harm."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlf_sb3 import Feedback, FeedbackError
from nlf_sb3.feedback import TEXT_KINDS

FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
ACTIONS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
    elements={"allow_nan": False},
) | st.integers(0, 10)
RECORDS = st.builds(
    Feedback,
    score=st.none() | FINITE,
    text=st.none() | st.text(max_size=20),
    expert_action=st.none() | ACTIONS,
    text_kind=st.sampled_from([None, *TEXT_KINDS]),
    label=st.sampled_from(["sample", "mode"]),
    weight=st.floats(0, 1e6),
    steps_ago=st.integers(0, 1000),
)
FIELDS = ("score", "text", "text_kind", "label", "weight", "steps_ago")


@given(RECORDS)
def test_pickle_and_copies_keep_every_field(record):
    for other in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert other == record
        assert hash(other) == hash(record)
        assert [getattr(other, name) for name in FIELDS] == [getattr(record, name) for name in FIELDS]
        assert (other.expert_action is None) == (record.expert_action is None)
        if record.expert_action is not None:
            assert other.expert_action.dtype == record.expert_action.dtype
            assert np.array_equal(other.expert_action, record.expert_action)


@given(RECORDS)
def test_copies_are_the_record_itself_since_vectorised_environments_copy_every_info(record):
    assert copy.copy(record) is record
    assert copy.deepcopy({"feedback": [record]})["feedback"][0] is record


@given(RECORDS, RECORDS)
def test_records_are_equal_exactly_when_all_their_fields_are(first, second):
    fields = all(getattr(first, name) == getattr(second, name) for name in FIELDS)
    if first.expert_action is None or second.expert_action is None:
        actions = first.expert_action is second.expert_action
    else:
        actions = np.array_equal(first.expert_action, second.expert_action)
    assert (first == second) == (fields and actions)


@given(RECORDS)
def test_repr_names_every_field_that_was_given(record):
    shown = repr(record)
    assert shown.startswith("Feedback(")
    assert ("score=" in shown) == (record.score is not None)
    assert ("expert_action=" in shown) == (record.expert_action is not None)
    assert ("label='mode'" in shown) == (record.label == "mode")


def test_a_record_is_not_equal_to_something_else():
    assert Feedback(score=1) != 1.0
    assert Feedback() != "Feedback()"


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.sampled_from([float, np.float32, np.float64, np.array]))
def test_scores_that_are_not_finite_are_refused(value, kind):
    with pytest.raises(FeedbackError, match=r"score: got .*(nan|inf).*expected a finite number.*[Ll]eave it None"):
        Feedback(score=kind(value))


@pytest.mark.parametrize("score", [True, np.True_, "0.5", 1j, [0.5], np.array([0.5]), {"score": 1}, b"1"])
def test_scores_of_the_wrong_kind_are_refused_with_what_came(score):
    with pytest.raises(FeedbackError, match=r"score: got .*expected a finite number such as 0 or 0\.5") as caught:
        Feedback(score=score)
    assert type(score).__name__ in str(caught.value)


def test_a_score_that_no_float_can_hold_is_refused():
    with pytest.raises(FeedbackError, match=r"score: .*expected a finite number"):
        Feedback(score=10**400)


@pytest.mark.parametrize("score", [0, -3, 0.5, np.float32(0.5), np.int8(-3), np.array(0.5), Fraction(1, 2)])
def test_every_finite_real_number_becomes_a_float_score(score):
    record = Feedback(score=score)
    assert type(record.score) is float
    assert record.score == float(score)


@pytest.mark.parametrize("text", [b"good", 3, ["good"], ("a", "b"), np.array("good"), {"text": "good"}, True])
def test_text_that_is_no_string_is_refused_with_what_came(text):
    with pytest.raises(FeedbackError, match=r"text: got .*expected a str or None.*[Dd]ecode or join") as caught:
        Feedback(text=text)
    assert type(text).__name__ in str(caught.value)


@pytest.mark.parametrize("text", ["", "näher an 🥕", np.str_("good")])
def test_every_string_is_text(text):
    assert Feedback(text=text).text == text


@pytest.mark.parametrize("kind", ["R", "hindsight", "", 1])
def test_unknown_kinds_of_text_are_refused_with_the_known_ones(kind):
    with pytest.raises(FeedbackError, match=r"text_kind: got .*expected None or one of r, hp, hn, fp, fn"):
        Feedback(text="x", text_kind=kind)


@pytest.mark.parametrize("label", ["Mode", "mean", None, 1])
def test_unknown_labels_are_refused_with_the_known_ones(label):
    with pytest.raises(FeedbackError, match=r"label: got .*expected 'sample' or 'mode'"):
        Feedback(label=label)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (-0.1, "at least 0.*lower its score"),
        (math.nan, "a finite number"),
        (math.inf, "a finite number"),
        ("1", "a finite number"),
    ],
)
def test_weights_that_are_negative_or_not_finite_are_refused(weight, expected):
    with pytest.raises(FeedbackError, match=f"weight: got .*expected {expected}"):
        Feedback(weight=weight)


@pytest.mark.parametrize("steps_ago", [-1, 0.5, 1.0, True, "1", None, math.nan])
def test_steps_ago_must_be_a_whole_number_of_at_least_0(steps_ago):
    with pytest.raises(FeedbackError, match=r"steps_ago: got .*expected an integer of at least 0"):
        Feedback(steps_ago=steps_ago)


@pytest.mark.parametrize("action", ["left", ["a", "b"], {"move": 1}, [[1, 2], [3]], object(), b"\x01"])
def test_expert_actions_that_are_no_numbers_are_refused(action):
    with pytest.raises(FeedbackError, match=r"expert_action: .*(expected numbers of the action space|is not an array)"):
        Feedback(expert_action=action)


def test_an_expert_action_that_numpy_can_t_read_is_a_feedback_error():
    # A tensor that still carries its graph: NumPy raises RuntimeError for it, on a GPU TypeError.
    with pytest.raises(FeedbackError, match="expert_action: "):
        Feedback(expert_action=th.zeros(2, requires_grad=True))


def test_changing_the_original_action_afterwards_does_not_reach_the_record():
    action = np.array([0.5, 1.0])
    record = Feedback(expert_action=action)
    action[:] = 9.0
    assert record.expert_action.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("name", [*FIELDS, "expert_action", "something_new"])
def test_fields_can_t_be_changed(name):
    with pytest.raises(AttributeError):
        setattr(Feedback(score=1.0, expert_action=[1.0]), name, 0)


@pytest.mark.parametrize(
    "through", [lambda r: r, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))], ids=["", "copy", "pickle"]
)
def test_the_expert_action_can_t_be_written_to_not_even_after_a_worker_sent_it(through):
    record = through(Feedback(expert_action=[0.5, 1.0]))
    with pytest.raises(ValueError, match="read-only"):
        record.expert_action[0] = 9.0


@pytest.mark.parametrize("field", ["text_kind", "label", "weight", "steps_ago"])
def test_everything_beside_the_three_channels_is_keyword_only(field):
    assert Feedback(1, "good", [0.5]) == Feedback(score=1, text="good", expert_action=[0.5])
    with pytest.raises(TypeError):
        Feedback(1, "good", [0.5], getattr(Feedback(), field))
