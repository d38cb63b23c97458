"""Action masks: their layout, which rows they allow, and what is said where they don't."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from nlf_sb3 import FeedbackError
from nlf_sb3.masks import allowed_rows, check_allowed, choices_per_dimension

SPACES = st.one_of(
    st.integers(1, 6).map(spaces.Discrete),
    st.tuples(st.integers(1, 5), st.integers(-3, 3)).map(lambda pair: spaces.Discrete(pair[0], start=pair[1])),
    st.lists(st.integers(1, 4), min_size=1, max_size=4).map(spaces.MultiDiscrete),
    st.integers(1, 4).map(spaces.MultiBinary),
    st.just(spaces.MultiDiscrete(np.array([[2, 3], [1, 4]]))),
    st.just(spaces.MultiBinary((2, 2))),
)


def sample(space, n, seed):
    """Actions of a space, and masks of its width."""
    space.seed(seed)
    actions = np.stack([np.asarray(space.sample()) for _ in range(n)])
    width = sum(choices_per_dimension(space))
    return actions, np.random.default_rng(seed).random((n, width)) < 0.7


def columns_of(action, space):
    """The columns of a mask that one action takes, by hand."""
    columns, first = [], 0
    values = np.ravel(action) - (space.start if isinstance(space, spaces.Discrete) else 0)
    for value, n in zip(values, choices_per_dimension(space), strict=True):
        columns.append(first + int(value))
        first += n
    return columns


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (spaces.Discrete(4), [4]),
        (spaces.Discrete(4, start=2), [4]),
        (spaces.MultiDiscrete([3, 2, 5]), [3, 2, 5]),
        (spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])), [2, 3, 4, 5]),
        (spaces.MultiBinary(3), [2, 2, 2]),
        (spaces.MultiBinary((2, 2)), [2, 2, 2, 2]),
    ],
)
def test_choices_come_dimension_by_dimension(space, expected):
    assert choices_per_dimension(space) == expected


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,)), spaces.Dict({"a": spaces.Discrete(2)})])
def test_spaces_without_choices_can_t_be_masked(space):
    with pytest.raises(FeedbackError, match=r"can't be masked: masks are for Discrete, MultiDiscrete and MultiBinary"):
        choices_per_dimension(space)


@given(space=SPACES, n=st.integers(1, 8), seed=st.integers(0, 1000))
def test_a_row_is_allowed_exactly_when_each_of_its_choices_is(space, n, seed):
    actions, masks = sample(space, n, seed)
    expected = [all(mask[columns_of(action, space)]) for action, mask in zip(actions, masks, strict=True)]
    assert allowed_rows(actions, masks, space).tolist() == expected
    assert allowed_rows(actions, masks.astype(np.int8), space).tolist() == expected


@given(space=SPACES, seed=st.integers(0, 1000))
def test_the_first_forbidden_row_is_named_with_action_and_mask(space, seed):
    actions, masks = sample(space, 5, seed)
    expected = allowed_rows(actions, masks, space)
    if expected.all():
        check_allowed(actions, masks, space)
        return
    first = int(np.flatnonzero(~expected)[0])
    with pytest.raises(FeedbackError) as caught:
        check_allowed(actions, masks, space, "label", lambda row: f"that of step {row + 10}")
    message = str(caught.value)
    assert message.startswith(f"label: that of step {first + 10} is {actions[first]}, which the action mask forbids")
    assert str(masks[first].astype(int)) in message
    assert "Expert.act_within" in message


@given(space=SPACES, seed=st.integers(0, 1000))
def test_actions_within_their_masks_pass(space, seed):
    actions, masks = sample(space, 4, seed)
    for action, mask in zip(actions, masks, strict=True):
        mask[columns_of(action, space)] = True
    check_allowed(actions, masks, space)


@pytest.mark.parametrize("shape", [(2, 3), (3, 5), (2, 6), (2,)])
def test_masks_of_another_shape_are_refused_with_both(shape):
    with pytest.raises(FeedbackError, match=r"demonstrations: action masks have shape .*expected \(2, 5\)"):
        check_allowed(np.zeros((2, 2), int), np.ones(shape, bool), spaces.MultiDiscrete([3, 2]), "demonstrations")


def test_no_rows_are_no_error():
    check_allowed(np.zeros((0,), int), np.ones((0, 3), bool), spaces.Discrete(3))
