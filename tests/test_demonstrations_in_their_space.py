"""Observations that were recorded elsewhere are of the environment's own space, or refused by name when the model is made."""

import dataclasses
import tracemalloc

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from learners import ALGORITHMS, learner
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nlf_sb3 import PPO, Demonstrations, ExpertSegment, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.teachers import BudgetTeacher, ExpertTeacher, NearestStateExpert

IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
GRID = spaces.Box(0, 10, (7, 7, 3), np.uint8)
CHOICES = spaces.Discrete(2)
rng = np.random.default_rng(0)


class Env(gym.Env):
    def __init__(self, observation, info=None):
        self.observation_space, self.action_space, self.info = observation, CHOICES, info or {}
        observation.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        done = self.steps >= 5
        return self.observation_space.sample(), 1.0, done, False, self.info if done else {}


def rows(observations):
    first = next(iter(observations.values())) if isinstance(observations, dict) else observations
    return Demonstrations(observations, np.arange(len(first)) % 2)


KIND = spaces.Dict({"kind": spaces.Discrete(4), "vector": spaces.Box(-1, 1, (2,), np.float32)})
VECTOR = np.zeros((2, 2), np.float32)
REFUSED = {
    "a choice that there isn't": (spaces.Discrete(4), np.array([1, 7]), "row 1 .*holds 7, expected whole numbers inside"),
    "a negative choice": (spaces.Discrete(4), np.array([-1, 0]), "row 0 .*holds -1"),
    "half a choice": (spaces.Discrete(4), np.array([1.0, 1.7]), "row 1 .*holds 1.7, expected whole numbers"),
    "one of several choices": (spaces.MultiDiscrete([3, 4]), np.array([[2, 3], [3, 0]]), "row 1 .*holds 3"),
    "no binary": (spaces.MultiBinary(2), np.array([[0, 1], [0, 2]]), "row 1 .*holds 2"),
    "more than a byte": (spaces.Box(0, 255, (2,), np.uint8), np.array([[0, 256], [1, 1]]), "row 0 .*holds 256"),
    "outside integers": (spaces.Box(0, 10, (2,), np.int32), np.array([[0, 1], [0, 50]]), "row 1 .*holds 50"),
    "in a dict": (KIND, {"kind": np.array([0, 4]), "vector": VECTOR}, r"observations\['kind'\]: row 1 .*holds 4"),
    "images over 255": (IMAGE, rng.random((2, 36, 36, 1)), r"from .* to .*divided by 255.*np\.rint\(255 \* images\)"),
    "black and white": (IMAGE, rng.integers(2, size=(2, 36, 36, 1)).astype(np.float32), "divided by 255.*does return 0"),
    "booleans for images": (IMAGE, rng.integers(2, size=(2, 36, 36, 1)).astype(bool), "divided by 255"),
    "images around 0": (IMAGE, rng.normal(size=(2, 36, 36, 1)), "row 0 .*expected whole numbers"),
    "fractions in a grid": (GRID, rng.random((2, 7, 7, 3)), "row 0 .*expected whole numbers"),
    "channels first": (IMAGE, np.zeros((2, 1, 36, 36), np.uint8), r"shape.*np\.moveaxis\(images, 1, -1\)"),
    "bytes for fractions": (spaces.Box(0, 1, (2,), np.float32), np.array([[0, 0], [200, 3]]), "row 1 .*another unit"),
    "degrees for radians": (spaces.Box(-np.pi, np.pi, (1,), np.float32), np.array([[0.3], [-175.0]]), "holds -175.0, far"),
    "no numbers": (spaces.Discrete(4), np.array(["1", "2"]), "dtype"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_outside_the_space_are_refused_when_the_model_is_made(name):
    space, observations, message = REFUSED[name]
    with pytest.raises(FeedbackError, match="demonstrations: .*" + message):
        learner("PPO", DummyVecEnv([lambda: Env(space)]), demonstrations=rows(observations))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "RecurrentPPO"])
def test_they_are_in_every_algorithm_and_behind_wrappers(algorithm):
    env = VecNormalize(DummyVecEnv([lambda: Env(spaces.Discrete(4))]), norm_obs=False)
    with pytest.raises(FeedbackError, match="holds 7"):
        learner(algorithm, env, demonstrations=rows(np.array([1, 7])))


ACCEPTED = {
    "slightly outside": (spaces.Box(-1, 1, (2,), np.float32), np.array([[1.0000001, -1.3], [4.0, 0]])),
    "no bounds": (spaces.Box(-np.inf, np.inf, (2,), np.float32), np.array([[1e9, -1e9], [0, 0]])),
    "the largest bounds": (
        spaces.Box(-np.float32(3.4e38), np.float32(3.4e38), (2,), np.float32),
        np.array([[1e30, 0], [0, 0]]),
    ),
    "one number that never moves": (spaces.Box(np.zeros(2, np.float32), np.array([0, 1], np.float32)), np.ones((2, 2)) * 0.5),
    "whole numbers as floats": (spaces.Discrete(4), np.array([1.0, 3.0])),
    "whole numbers of another width": (spaces.Box(0, 255, (2,), np.int16), np.array([[0, 255], [1, 7]], np.int64)),
    "booleans": (spaces.MultiBinary(2), np.array([[True, False], [True, True]])),
    "integers for floats": (spaces.Box(-1, 1, (2,), np.float32), np.array([[0, 1], [1, 0]])),
    "images as floats": (IMAGE, rng.integers(256, size=(2, 36, 36, 1)).astype(np.float32)),
    "black images": (IMAGE, np.zeros((2, 36, 36, 1), np.float64)),
    "a dict": (KIND, {"kind": np.array([0.0, 3.0]), "vector": VECTOR + 2}),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_rows_that_fit_are_accepted_and_whole_numbers_get_the_dtype_of_their_space(name):
    space, observations = ACCEPTED[name]
    model = learner("PPO", DummyVecEnv([lambda: Env(space)]), demonstrations=rows(observations))
    model.learn(12)
    assert model.logger.name_to_value["train/imitation_loss"] > 0
    kept = model.demonstrations.observations
    pairs = [(kept[key], space[key]) for key in kept] if isinstance(kept, dict) else [(kept, space)]
    assert all(array.dtype == part.dtype for array, part in pairs if np.dtype(part.dtype).kind != "f")


@given(st.integers(1, 6), st.lists(st.integers(-3, 9), min_size=1, max_size=6), st.booleans())
def test_a_choice_is_accepted_exactly_if_the_space_holds_it(n, numbers, as_floats):
    space = spaces.Discrete(n)
    shown = rows(np.array(numbers, dtype=float if as_floats else int))
    if all(map(space.contains, numbers)):
        np.testing.assert_array_equal(shown.checked(space, CHOICES).observations, numbers)
    else:
        first = next(row for row, number in enumerate(numbers) if not space.contains(number))
        with pytest.raises(FeedbackError, match=f"row {first} "):
            shown.checked(space, CHOICES)


def test_a_grid_of_0_and_1_is_no_image_that_was_divided():
    numbers = rng.integers(2, size=(2, 7, 7, 3))
    kept = rows(numbers.astype(np.float32)).checked(GRID, CHOICES).observations
    np.testing.assert_array_equal(kept, numbers)
    assert kept.dtype == np.uint8


def peak_of(function):
    """Bytes that a call takes at once, and what it returns."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["of the space", "cast"])
@pytest.mark.parametrize("is_dict", [False, True])
def test_rows_are_copied_once_when_they_are_checked(dtype, is_dict):
    space = spaces.Box(0, 9, (50,), np.float32 if dtype is np.float32 else np.int64)
    space = spaces.Dict({"a": space}) if is_dict else space
    numbers = rng.integers(9, size=(20_000, 50)).astype(dtype)
    shown = rows({"a": numbers} if is_dict else numbers)
    peak, checked = peak_of(lambda: shown.checked(space, CHOICES))
    assert peak < 1.7 * numbers.nbytes  # whole numbers are compared with their floor beside it
    given, own = (part.observations["a"] if is_dict else part.observations for part in (shown, checked))
    np.testing.assert_array_equal(own, given)
    for name in ("actions", "weights"):
        assert not np.shares_memory(getattr(checked, name), getattr(shown, name))
    assert not np.shares_memory(own, given)


def test_an_expert_of_recordings_checks_them_without_a_copy():
    space = spaces.Box(0, 9, (50,), np.float32)
    shown = rows(rng.random((20_000, 50)).astype(np.float32))
    nearest = NearestStateExpert(shown)
    peak, _ = peak_of(lambda: nearest.check_spaces(space, CHOICES))
    assert peak < 0.5 * shown.observations.nbytes
    for wrong in ((spaces.Box(0, 9, (49,), np.float32), CHOICES), (space, spaces.Box(0, 1, (1,)))):
        with pytest.raises(FeedbackError, match=r"demonstrations: .*shape"):
            nearest.check_spaces(*wrong)


def test_an_expert_of_recordings_refuses_actions_that_were_not_allowed():
    shown = dataclasses.replace(rows(np.zeros((2, 1), np.float32)), action_masks=np.array([[True, True], [True, False]]))
    with pytest.raises(FeedbackError, match="demonstrations: row 1 is 1, which the action mask forbids"):
        NearestStateExpert(shown).check_spaces(spaces.Box(0, 9, (1,), np.float32), CHOICES)


def test_what_a_file_holds_is_checked_as_well(tmp_path):
    rows(np.array([1, 7])).save(tmp_path / "rows")
    with pytest.raises(FeedbackError, match=r"row 1 .*holds 7"):
        PPO("MlpPolicy", Env(spaces.Discrete(4)), demonstrations=Demonstrations.load(tmp_path / "rows"))


def test_so_is_what_an_expert_acts_from_wherever_it_teaches():
    pytest.importorskip("sklearn")
    space = spaces.Discrete(4)
    expert, fits = (NearestStateExpert(rows(np.array(numbers))) for numbers in ([1, 7], [1, 3]))

    def plain():
        return Env(space)

    ways = [
        lambda given: PPO("MlpPolicy", plain(), expert=given),
        lambda given: FeedbackWrapper(plain(), BudgetTeacher(ExpertTeacher(given), 5)),
        lambda given: FeedbackWrapper(plain(), [ExpertTeacher(given)]),
        lambda given: TrajectoryInjection(plain(), given, 0.3, twin=plain),
    ]
    for way in ways:
        way(fits)
        with pytest.raises(FeedbackError, match=r"row 1 .*holds 7"):
            way(expert)


def test_an_expert_segment_s_observations_are_of_the_space_too():
    good = ExpertSegment(np.array([0, 3]), np.array([0, 1]), np.ones(2), True, False, np.array(1), 0)
    for changes, message in (
        ({"observations": np.array([0, 7])}, r"environment 0, step 5: expert segment: observations: row 1 .*holds 7"),
        ({"observations": np.array([0.5, 1.0])}, r"row 0 .*holds 0.5"),
        ({"observations": np.zeros((2, 3))}, r"has shape \(2, 3\)"),
        ({"last_observation": np.array(4)}, r"last observation: observations: row 0 .*holds 4"),
    ):
        env = Env(spaces.Discrete(4), {"expert_segment": dataclasses.replace(good, **changes)})
        with pytest.raises(FeedbackError, match=message):
            PPO("MlpPolicy", env, n_steps=8, batch_size=8).learn(8)
    # An environment's own twin may be as far outside a Box as it is itself.
    wide = spaces.Box(0, 1, (1,), np.float32)
    segment = dataclasses.replace(good, observations=np.array([[50.0], [99.0]]), last_observation=np.array([70.0]))
    PPO("MlpPolicy", Env(wide, {"expert_segment": segment}), n_steps=8, batch_size=8).learn(8)
