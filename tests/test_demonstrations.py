"""Demonstrations in files, out of injected episodes, and with the masks of the actions that were allowed."""

import io
import re
import zipfile

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import box_expert
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlf_sb3 import PPO, Demonstrations, ExpertSegment, FeedbackError, TrajectoryInjection

FIELDS = ("actions", "weights", "label", "action_masks")
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6).filter(
    lambda key: not key.endswith(".npy")
)
DTYPES = st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.bool_])


@st.composite
def demonstrations(draw):
    rows = draw(st.integers(1, 5))

    def array():
        shape = (rows, *draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)))
        dtype = np.dtype(draw(DTYPES))
        finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
        return draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **finite)))

    return Demonstrations(
        {key: array() for key in draw(st.sets(KEYS, min_size=1, max_size=3))} if draw(st.booleans()) else array(),
        array(),
        draw(st.none() | hnp.arrays(np.float64, rows, elements=st.floats(0, 10))),
        draw(st.sampled_from(["sample", "mode"])),
        draw(st.none() | hnp.arrays(np.bool_, (rows, 3))),
    )


def same(first, second):
    """Equal values and dtypes, bit by bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if not isinstance(first, np.ndarray):
        return first == second
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


# --- files ----------------------------------------------------------------------------------------


@given(demonstrations())
def test_a_file_gives_back_every_field(tmp_path_factory, original):
    path = tmp_path_factory.getbasetemp() / "round_trip.npz"
    original.save(path)
    loaded = Demonstrations.load(path)
    assert same(loaded.observations, original.observations)
    assert all(same(getattr(loaded, name), getattr(original, name)) for name in FIELDS)


def test_the_suffix_may_be_left_out(tmp_path):
    Demonstrations(np.zeros((2, 3)), np.zeros(2)).save(tmp_path / "human.run")
    assert (tmp_path / "human.run.npz").exists()
    assert len(Demonstrations.load(tmp_path / "human.run")) == 2


def test_arrays_that_numpy_wrote_load_with_the_defaults(tmp_path):
    np.savez(tmp_path / "own.npz", actions=np.array([1, 0]), **{"observations/a": np.zeros((2, 1)), "observations/b": [3, 4]})
    loaded = Demonstrations.load(tmp_path / "own.npz")
    assert loaded.observations.keys() == {"a", "b"}
    assert (loaded.weights.tolist(), loaded.label, loaded.action_masks) == ([1.0, 1.0], "sample", None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"observations": np.zeros((2, 3))}, r"holds observations; expected actions, observations"),
        ({"actions": np.zeros(2)}, r"holds actions; expected actions, observations"),
        ({}, r"holds no arrays; expected actions"),
        (
            {"observations": np.zeros(2), "actions": np.zeros(2), "weight": np.ones(2)},
            r"actions, observations, weight; expected",
        ),
        ({"observations": np.zeros(2), "observations/a": np.zeros(2), "actions": np.zeros(2)}, r"holds .*observations/a"),
        ({"observations": np.zeros(2), "actions": np.zeros(3)}, r"got rows \{'observations': 2, 'actions': 3"),
        ({"observations": np.zeros(2), "actions": np.zeros(2), "label": np.array("mean")}, r"label: got 'mean'"),
        ({"observations": np.array([{}, {}]), "actions": np.zeros(2)}, r"can't be read .*object arrays are refused"),
    ],
)
def test_a_file_that_holds_something_else_says_what_came_and_what_was_expected(tmp_path, arrays, message):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(FeedbackError, match=rf"(?s)Demonstrations\.load: .*wrong\.npz.*{message}"):
        Demonstrations.load(tmp_path / "wrong.npz")


def bytes_of(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def other_zip(buffer):
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("data", "{}")


WHOLE = bytes_of(lambda buffer: np.savez(buffer, observations=np.arange(100), actions=np.arange(100)))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", bytes_of(lambda buffer: np.save(buffer, np.zeros(3))), bytes_of(other_zip), WHOLE[:-30]],
    ids=["empty", "text", "npy", "another zip", "cut off"],
)
def test_another_kind_of_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "wrong.npz"
    path.write_bytes(content)
    with pytest.raises(FeedbackError, match=re.escape(f"Demonstrations.load: {path} ")) as caught:
        Demonstrations.load(path)
    assert "pickle" not in str(caught.value)
    assert ("it is no .npz" in str(caught.value)) == (not zipfile.is_zipfile(path))


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*nothing\.npz\. Write one with Demonstrations\.save"):
        Demonstrations.load(tmp_path / "nothing")


def test_what_a_file_can_t_hold_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(FeedbackError, match=r"observations holds Python objects"):
        Demonstrations(np.array([{}, []], dtype=object), np.zeros(2)).save(tmp_path / "a.npz")
    with pytest.raises(FeedbackError, match=r"'observations/a\.npy' is no name"):
        Demonstrations({"a.npy": np.zeros(2)}, np.zeros(2)).save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


# --- out of injected episodes ---------------------------------------------------------------------


def segment(length, fork_step, as_dict=False):
    rows = np.arange(length, dtype=np.float32)
    observations = {"a": rows[:, None], "b": -rows} if as_dict else np.stack([rows, rows], axis=1)
    return ExpertSegment(observations, rows.astype(np.int64), np.ones(length), True, False, observations, fork_step)


@pytest.mark.parametrize("as_dict", [False, True])
def test_only_the_expert_s_own_steps_become_rows(as_dict):
    rows = Demonstrations.from_segments((segment(4, 1, as_dict), segment(2, 2, as_dict), segment(3, 0, as_dict)), label="mode")
    assert rows.actions.tolist() == [1, 2, 3, 0, 1, 2]
    assert rows.label == "mode"
    if as_dict:
        assert rows.observations["a"].shape == (6, 1)
        assert rows.observations["b"].tolist() == [-1, -2, -3, 0, -1, -2]
    else:
        assert rows.observations[:, 0].tolist() == [1, 2, 3, 0, 1, 2]
    assert Demonstrations.from_segments([segment(2, 0)]).label == "sample"


@pytest.mark.parametrize("segments", [[], [segment(2, 2)]])
def test_no_step_of_an_expert_is_no_demonstration(segments):
    with pytest.raises(FeedbackError, match="no segment with a step of the expert's"):
        Demonstrations.from_segments(segments)


def test_rows_of_a_played_episode_are_what_the_expert_did():
    env = TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), box_expert, fork_probability=0.3)
    segments = []
    env.reset(seed=0)
    while len(segments) < 5:
        *_, terminated, truncated, info = env.step(np.zeros(2, np.float32))
        if terminated or truncated:
            segments += [info["expert_segment"]] if "expert_segment" in info else []
            env.reset()
    rows = Demonstrations.from_segments(segments).checked(env.observation_space, env.action_space)
    assert len(rows) == sum(len(part) - part.fork_step for part in segments)
    assert sum(part.fork_step for part in segments) > 0
    np.testing.assert_allclose(rows.actions, box_expert(rows.observations), atol=1e-6)


# --- masks ----------------------------------------------------------------------------------------

SPACE = spaces.Box(-np.inf, np.inf, (3,), np.float32)
MASKED = {
    "discrete": (spaces.Discrete(3), [2, 0], [[0, 1, 1], [1, 0, 0]]),
    "discrete from 5": (spaces.Discrete(3, start=5), [7, 5], [[0, 1, 1], [1, 0, 0]]),
    "multi discrete": (spaces.MultiDiscrete([3, 2]), [[2, 0], [0, 1]], [[0, 0, 1, 1, 0], [1, 1, 0, 0, 1]]),
    "multi binary": (spaces.MultiBinary(2), [[1, 0], [0, 0]], [[0, 1, 1, 1], [1, 0, 1, 0]]),
}


@pytest.mark.parametrize("kind", MASKED)
def test_masks_are_kept_and_one_that_forbids_its_own_action_is_an_error_that_names_the_row(kind):
    space, actions, masks = MASKED[kind]
    masks = np.array(masks, dtype=bool)
    rows = Demonstrations(np.zeros((2, 3), np.float32), np.array(actions), label="mode", action_masks=masks)
    checked = rows.checked(SPACE, space)
    assert np.array_equal(checked.action_masks, masks)
    assert checked.label == "mode"
    for column in np.flatnonzero(masks[1]):
        wrong = masks.copy()
        wrong[1, column] = False
        used = column in used_columns(space, actions[1])
        narrowed = Demonstrations(np.zeros((2, 3), np.float32), np.array(actions), action_masks=wrong)
        if used:
            with pytest.raises(FeedbackError, match=r"demonstrations: row 1 is .*, which the action mask forbids there"):
                narrowed.checked(SPACE, space)
        else:
            narrowed.checked(SPACE, space)


def used_columns(space, action):
    """The columns of MaskablePPO's masks that an action needs, counted by hand."""
    if isinstance(space, spaces.Discrete):
        return {action - space.start}
    if isinstance(space, spaces.MultiDiscrete):
        return {action[0], 3 + action[1]}
    return {action[0], 2 + action[1]}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((3, 3), bool), "got rows .*'action_masks': 3"),
        (np.ones(2, bool), r"action_masks: got shape \(2,\) of bool, expected booleans \[K, n_masks\]"),
        (np.full((2, 3), 2), r"action_masks: got shape \(2, 3\) of int64, expected booleans"),
        (np.ones((2, 3)), r"action_masks: got shape \(2, 3\) of float64, expected booleans"),
    ],
)
def test_masks_that_are_none_are_refused(masks, message):
    with pytest.raises(FeedbackError, match=message):
        Demonstrations(np.zeros((2, 3)), np.zeros(2, int), action_masks=masks)


def test_zeros_and_ones_are_masks_as_gymnasium_writes_them():
    assert Demonstrations([[0.0]], [0], action_masks=np.array([[1, 0]], np.int8)).action_masks.dtype == bool


def test_masks_of_another_space_are_refused():
    rows = Demonstrations(np.zeros((2, 3), np.float32), np.zeros(2, int), action_masks=np.ones((2, 4), bool))
    with pytest.raises(FeedbackError, match=r"action masks have shape \(2, 4\), expected \(2, 3\) for Discrete\(3\)"):
        rows.checked(SPACE, spaces.Discrete(3))
    rows = Demonstrations(np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32), action_masks=np.ones((2, 4), bool))
    with pytest.raises(FeedbackError, match="can't be masked"):
        rows.checked(SPACE, spaces.Box(-1, 1, (1,)))


def test_loaded_demonstrations_train(tmp_path):
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    Demonstrations(observations, (observations[:, 2] > 0).astype(int)).save(tmp_path / "rows.npz")
    rows = Demonstrations.load(tmp_path / "rows.npz")
    settings = {"n_steps": 32, "batch_size": 32, "seed": 0, "device": "cpu", "alpha": 0.0}
    model = PPO("MlpPolicy", "CartPole-v1", demonstrations=rows, n_epochs=30, learning_rate=1e-2, **settings).learn(64)
    assert (model.predict(observations, deterministic=True)[0] == rows.actions).mean() > 0.9
