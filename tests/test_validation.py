"""check_actions: lossless casts pass, everything else is an error that says how to mend it."""

import warnings

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlf_sb3 import FeedbackError
from nlf_sb3.validation import check_actions

SPACES = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "box64": spaces.Box(-2.0, 3.0, (2, 2), np.float64),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "uneven": spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32)),
    "bytes": spaces.Box(0, 255, (2,), np.uint8),
    "discrete": spaces.Discrete(3),
    "shifted": spaces.Discrete(3, start=5),
    "multi_discrete": spaces.MultiDiscrete([2, 4]),
    "multi_discrete_2d": spaces.MultiDiscrete([[2, 4], [3, 5]]),
    "shifted_multi_discrete": spaces.MultiDiscrete([2, 4], start=[1, -2]),
    "multi_binary": spaces.MultiBinary(3),
    "multi_binary_2d": spaces.MultiBinary([2, 2]),
}


def sampled(space: spaces.Space, seed: int, n_rows: int) -> np.ndarray:
    space.seed(seed)
    return np.stack([np.asarray(space.sample()) for _ in range(n_rows)])


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**31), n_rows=st.integers(1, 5), as_list=st.booleans())
def test_actions_of_the_space_pass_unchanged_with_its_dtype(name, seed, n_rows, as_list):
    space = SPACES[name]
    actions = sampled(space, seed, n_rows)
    checked = check_actions(actions.tolist() if as_list else actions, space, n_rows)
    assert checked.dtype == space.dtype
    assert checked.shape == (n_rows, *space.shape)
    assert np.array_equal(checked, actions)
    assert all(space.contains(row.astype(space.dtype)) for row in checked)


@given(actions=hnp.arrays(np.float64, (3, 2), elements=st.floats(-1, 1)))
def test_floats_are_rounded_to_the_dtype_of_the_space(actions):
    checked = check_actions(actions, SPACES["box"], 3)
    assert np.array_equal(checked, actions.astype(np.float32))


@given(actions=hnp.arrays(np.float32, (3, 2), elements=st.floats(-4, 4, width=32)))
def test_a_box_accepts_exactly_what_lies_inside_it(actions):
    space = SPACES["box"]
    if np.all(np.abs(actions) <= 1):
        assert np.array_equal(check_actions(actions, space, 3), actions)
        return
    row = int(np.argwhere((np.abs(actions) > 1).any(axis=1))[0, 0])
    with pytest.raises(FeedbackError, match=rf"row {row} is .*outside Box\(-1\.0, 1\.0.*Clip or rescale"):
        check_actions(actions, space, 3)


@given(action=st.integers(-(2**63), 2**63 - 1))
@pytest.mark.parametrize("name", ["discrete", "shifted"])
def test_a_discrete_space_accepts_exactly_its_members(name, action):
    space = SPACES[name]
    if space.contains(action):
        assert check_actions(np.array([action]), space, 1) == action
    else:
        with pytest.raises(FeedbackError, match=r"row 0 is .*outside Discrete"):
            check_actions(np.array([action]), space, 1)


@given(action=st.lists(st.integers(-4, 6), min_size=2, max_size=2))
@pytest.mark.parametrize("name", ["multi_discrete", "shifted_multi_discrete"])
def test_a_multi_discrete_space_accepts_exactly_its_members(name, action):
    space = SPACES[name]
    if space.contains(np.array(action)):
        assert check_actions([action], space, 1).tolist() == [action]
    else:
        with pytest.raises(FeedbackError, match=r"row 0 is .*outside MultiDiscrete"):
            check_actions([action], space, 1)


@given(
    name=st.sampled_from(sorted(SPACES)),
    actions=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=3, max_side=3)),
    n_rows=st.integers(1, 3),
)
def test_whatever_comes_is_a_member_of_the_space_or_a_feedback_error(name, actions, n_rows):
    space = SPACES[name]
    try:
        checked = check_actions(actions, space, n_rows)
    except FeedbackError:
        return
    assert checked.shape == (n_rows, *space.shape)
    assert all(space.contains(row) for row in checked)


@pytest.mark.parametrize(
    ("name", "actions", "kind"),
    [
        ("discrete", [1.0], "floats"),
        ("discrete", np.array([1.0], np.float32), "floats"),
        ("discrete", [True], "booleans"),
        ("discrete", [1j], "complex numbers"),
        ("multi_discrete", [[0.0, 1.0]], "floats"),
        ("multi_discrete", [[True, False]], "booleans"),
        ("multi_binary", [[0.0, 1.0, 1.0]], "floats"),
        ("multi_binary", [[0j, 1j, 1j]], "complex numbers"),
        ("box", [[True, False]], "booleans"),
        ("box", [[0.5 + 0j, 0.5]], "complex numbers"),
        ("bytes", [[1.0, 2.0]], "floats"),
    ],
)
def test_another_kind_of_number_is_refused_with_both_kinds_named(name, actions, kind):
    with pytest.raises(
        FeedbackError, match=f"expert action: got {kind} .*expected (integers|floats) for .*(Round or|Convert)"
    ):
        check_actions(actions, SPACES[name], 1)


@pytest.mark.parametrize("name", ["box", "discrete", "multi_discrete", "multi_binary"])
@pytest.mark.parametrize("value", ["left", b"left", None, {"a": 1}, 10**30])
def test_what_is_no_number_is_refused(name, value):
    space = SPACES[name]
    actions = np.full((1, *space.shape), value, dtype=None if isinstance(value, (str, bytes)) else object)
    with pytest.raises(FeedbackError, match=r"(?s)expert action: got .*dtype.*expected numbers of (Box|Discrete|Multi)"):
        check_actions(actions, space, 1)


def test_none_is_refused_with_the_number_of_actions_expected():
    with pytest.raises(
        FeedbackError, match=r"got None, expected 4 action\(s\) of Discrete\(3\).*one row for each observation"
    ):
        check_actions(None, SPACES["discrete"], 4)


def test_ragged_rows_are_refused():
    with pytest.raises(FeedbackError, match=r"is not an array .*rows of equal shape"):
        check_actions([[1.0, 2.0], [1.0]], SPACES["box"], 2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("box", (3,)),
        ("box", (2, 2)),
        ("box", (3, 1)),
        ("box", (3, 2, 1)),
        ("box", ()),
        ("box", (0, 2)),
        ("discrete", (3, 1)),
        ("discrete", (2,)),
        ("discrete", ()),
        ("multi_discrete", (3,)),
        ("multi_discrete_2d", (3, 4)),
        ("multi_binary", (3, 2)),
    ],
)
def test_another_shape_is_refused_with_both_shapes(name, shape):
    space = SPACES[name]
    with pytest.raises(FeedbackError, match=r"(?s)got shape .*expected .* for .*one row for each observation") as caught:
        check_actions(np.zeros(shape, space.dtype), space, 3)
    assert str(shape) in str(caught.value)
    assert str((3, *space.shape)) in str(caught.value)


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (SPACES["bytes"], np.array([[300, 1]])),
        (SPACES["bytes"], np.array([[-1, 1]])),
        (SPACES["multi_binary"], np.array([[256, 0, 0]])),
        (SPACES["discrete"], np.array([2**64 - 1], np.uint64)),
        (SPACES["unbounded"], np.array([[2**24 + 1, 0]])),
    ],
    ids=["above uint8", "below uint8", "int8 wraps to 0", "uint64 wraps to -1", "no float32"],
)
def test_integers_that_the_dtype_can_t_hold_are_refused(space, actions):
    with pytest.raises(FeedbackError, match=f"does not fit into {space.dtype}.*Use values that"):
        check_actions(actions, space, 1)


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (SPACES["unbounded"], np.array([[3, -4]])),
        (SPACES["unbounded"], np.array([[2**24, 0]])),
        (SPACES["bytes"], np.array([[255, 0]])),
        (SPACES["multi_binary"], np.array([[True, False, True]])),
        (SPACES["discrete"], np.array([2], np.uint64)),
    ],
)
def test_integers_and_bits_that_lose_nothing_are_cast(space, actions):
    checked = check_actions(actions, space, 1)
    assert checked.dtype == space.dtype
    assert np.array_equal(checked, actions)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["box", "box64", "unbounded", "uneven"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_refused_even_by_an_unbounded_box(name, value, dtype):
    space = SPACES[name]
    actions = np.zeros((3, *space.shape), dtype)
    actions[1].flat[-1] = value
    with pytest.raises(FeedbackError, match=rf"(?s)row 1 is .*{value}.*which is not finite.*inside Box"):
        check_actions(actions, space, 3)


def test_a_float_too_large_for_the_dtype_is_refused_without_a_numpy_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FeedbackError, match=r"1\.e\+300.*outside Box"):
            check_actions([[1e300, 0.0]], SPACES["unbounded"], 1)


def test_bounds_hold_for_each_component():
    assert check_actions([[-1.0, 5.0]], SPACES["uneven"], 1).tolist() == [[-1.0, 5.0]]
    with pytest.raises(FeedbackError, match="row 0"):
        check_actions([[0.0, -0.5]], SPACES["uneven"], 1)


def test_nothing_is_clipped():
    with pytest.raises(FeedbackError, match="outside"):
        check_actions(np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32), SPACES["box"], 1)


@pytest.mark.parametrize("space", [spaces.Dict({"a": spaces.Discrete(2)}), spaces.Tuple([spaces.Discrete(2)])])
def test_spaces_that_sb3_can_t_act_in_are_refused(space):
    with pytest.raises(FeedbackError):
        check_actions(np.zeros((1, *(space.shape or ()))), space, 1)


def test_the_source_is_named():
    with pytest.raises(FeedbackError, match=r"^demonstrations: got shape"):
        check_actions([1, 2], SPACES["discrete"], 3, "demonstrations")
