"""Recorded states as an expert: exact on what was recorded, honest about what wasn't, good enough to balance CartPole."""

import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from helpers import cartpole_expert
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlf_sb3 import PPO, Demonstrations, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.teachers import CallableExpert, ExpertTeacher, NearestStateExpert

ACTIONS = {
    "box": lambda rows: hnp.arrays(np.float32, (rows, 2), elements=st.floats(-2, 2, width=32)),
    "discrete": lambda rows: hnp.arrays(np.int64, rows, elements=st.integers(0, 4)),
    "multi discrete": lambda rows: hnp.arrays(np.int32, (rows, 3), elements=st.integers(0, 3)),
    "multi binary": lambda rows: hnp.arrays(np.int8, (rows, 2), elements=st.integers(0, 1)),
}


def record(seeds):
    """Whole episodes of the expert on CartPole."""
    env = gym.make("CartPole-v1")
    observations, actions = [], []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        done = False
        while not done:
            action = cartpole_expert(observation[None])[0]
            observations.append(observation)
            actions.append(action)
            observation, _, terminated, truncated, _ = env.step(int(action))
            done = terminated or truncated
    return Demonstrations(np.array(observations), np.array(actions), label="mode")


@pytest.fixture(scope="module")
def recorded():
    return record(range(5))


# --- what it answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ACTIONS)
@given(data=st.data())
def test_in_a_recorded_state_it_does_exactly_what_was_recorded(kind, data):
    numbers = st.integers(-1000, 1000).map(lambda number: number / 8)
    states = np.array(data.draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=12, unique=True)))
    rows = len(states)
    weights = data.draw(hnp.arrays(np.float64, rows, elements=st.floats(0.1, 10)))
    as_dict = data.draw(st.booleans())
    observations = {"b": states[:, :1], "a": states[:, 1:].astype(np.float32)} if as_dict else states
    actions = data.draw(ACTIONS[kind](rows))
    expert = NearestStateExpert(
        Demonstrations(observations, actions, weights),
        n_neighbors=data.draw(st.integers(1, rows)),
        scale=data.draw(st.sampled_from(["std", None, 0.25])),
        max_distance=0.0,
    )
    acted = expert.act(observations)
    assert np.array_equal(acted, actions)
    assert acted.dtype == actions.dtype
    assert (expert.distances(observations) == 0).all()


def test_the_nearest_of_many_is_what_a_search_of_all_finds():
    rng = np.random.default_rng(0)
    states, actions, asked = rng.normal(size=(300, 20)), rng.normal(size=(300, 1)), rng.normal(size=(50, 20))
    distances = np.linalg.norm((asked[:, None] - states) / states.std(axis=0), axis=2)
    expert = NearestStateExpert(Demonstrations(states, actions))
    assert np.array_equal(expert.act(asked), actions[distances.argmin(axis=1)])
    np.testing.assert_allclose(expert.distances(asked), distances.min(axis=1))


def test_small_differences_far_from_the_origin_are_not_rounded_away():
    states = 1e6 + np.arange(40.0)[:, None] * 1e-6 * np.ones(30)
    expert = NearestStateExpert(Demonstrations(states, np.arange(40)), scale=None)
    assert expert.act(states).tolist() == list(range(40))


def test_scale_decides_what_is_near():
    rows = Demonstrations(np.array([[0.0, 0.0], [1.0, 100.0]]), np.array([0, 1]))
    asked = np.array([[0.9, 10.0]])
    assert NearestStateExpert(rows, scale=None).act(asked).tolist() == [0]
    assert NearestStateExpert(rows, scale=np.array([0.01, 100.0])).act(asked).tolist() == [1]
    assert NearestStateExpert(rows).act(np.array([[0.9, 45.0]])).tolist() == [1], "std: 0.5 and 50"


def test_a_number_that_never_varied_is_not_divided_by_zero():
    rows = Demonstrations(np.array([[5.0, 0.0], [5.0, 1.0]]), np.array([0, 1]))
    assert NearestStateExpert(rows).act(np.array([[5.0, 0.9]])).tolist() == [1]


def test_several_neighbours_are_averaged_by_weight_and_closeness():
    rows = Demonstrations(np.array([[0.0], [3.0], [50.0]]), np.array([[0.0], [1.0], [9.0]], np.float32), [1.0, 4.0, 1.0])
    expert = NearestStateExpert(rows, n_neighbors=2, scale=None)
    # Weights 1 / 1 and 4 / 2.
    assert expert.act(np.array([[1.0]])) == pytest.approx(2 / 3)
    assert expert.act(np.array([[1.0]])).dtype == np.float32


def test_several_neighbours_vote_dimension_by_dimension():
    actions = np.array([[2, 0], [1, 1], [1, 0], [0, 3]])
    rows = Demonstrations(np.array([[-1.0], [1.0], [1.5], [90.0]]), actions)
    assert NearestStateExpert(rows, n_neighbors=3, scale=None).act(np.array([[0.0]])).tolist() == [[1, 0]]
    heavy = Demonstrations(rows.observations, actions, np.array([9.0, 1.0, 1.0, 1.0]))
    assert NearestStateExpert(heavy, n_neighbors=3, scale=None).act(np.array([[0.0]])).tolist() == [[2, 0]]


def test_rows_of_weight_zero_say_nothing():
    rows = Demonstrations(np.array([[0.0], [1.0]]), np.array([7, 8]), np.array([0.0, 0.1]))
    assert NearestStateExpert(rows).act(np.array([[0.0]])).tolist() == [8]


def test_the_same_state_recorded_twice_is_averaged_by_its_weights():
    rows = Demonstrations(np.array([[0.0], [0.0], [1.0]]), np.array([1.0, 2.0, 9.0]), np.array([1.0, 3.0, 1.0]))
    assert NearestStateExpert(rows, n_neighbors=3).act(np.array([[0.0]])).tolist() == [1.75]


@pytest.mark.parametrize(
    ("label", "n_neighbors", "expected"), [("sample", 1, "sample"), ("mode", 1, "mode"), ("sample", 2, "mode")]
)
def test_its_label_is_the_recording_s_and_a_mean_is_a_mode(label, n_neighbors, expected):
    rows = Demonstrations(np.zeros((3, 1)), np.zeros(3), label=label)
    assert NearestStateExpert(rows, n_neighbors=n_neighbors).label == expected


def test_too_far_from_every_recording_it_has_no_answer_and_says_how_far():
    expert = NearestStateExpert(Demonstrations(np.array([[0.0], [1.0]]), np.array([0, 1])), scale=None, max_distance=0.5)
    assert expert.act(np.array([[1.5]])).tolist() == [1]
    with pytest.raises(FeedbackError, match=r"row 1 of 2 is 2 away from the nearest .* more than max_distance=0\.5"):
        expert.act(np.array([[1.5], [3.0]]))
    assert expert.distances(np.array([[1.5], [3.0]])).tolist() == [0.5, 2.0]


# --- what it refuses --------------------------------------------------------------------------------

ROWS = Demonstrations(np.zeros((3, 2)), np.zeros(3), np.array([1.0, 1.0, 0.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors: got 0, expected 1 to 2"),
        ({"n_neighbors": 3}, "n_neighbors: got 3, expected 1 to 2, the rows of weight above 0"),
        ({"max_distance": -1.0}, "max_distance: got -1.0"),
        ({"max_distance": np.nan}, "max_distance: got nan"),
        ({"scale": "mad"}, "scale: got 'mad', expected 'std', None or positive numbers, [2] or 1"),
        ({"scale": np.ones(3)}, "scale: got array"),
        ({"scale": np.array([1.0, 0.0])}, "scale: got array"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(FeedbackError, match=re.escape(message)):
        NearestStateExpert(ROWS, **arguments)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (np.zeros((2, 3)), "got observations of {'observations': 3} numbers, expected {'observations': 2}"),
        (np.zeros(2), "Pass a batch, [n, *obs_shape]"),
        ({"a": np.zeros((1, 2))}, "got observations of {'a': 2}"),
        (np.array([[0.0, np.nan]]), "NaN or infinity"),
    ],
)
def test_observations_of_something_else_are_refused(observations, message):
    with pytest.raises(FeedbackError, match=re.escape(message)):
        NearestStateExpert(ROWS).act(observations)


def test_rows_that_have_no_distance_are_refused():
    with pytest.raises(FeedbackError, match=r"got str, expected Demonstrations.*Demonstrations\.load"):
        NearestStateExpert("rows.npz")
    with pytest.raises(FeedbackError, match=r"shape \(2, 8, 8, 3\): images are refused.*CallableExpert"):
        NearestStateExpert(Demonstrations(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2)))
    with pytest.raises(FeedbackError, match="NaN or infinity"):
        NearestStateExpert(Demonstrations(np.array([[np.inf], [0.0]]), np.zeros(2)))
    with pytest.raises(FeedbackError, match="observations has dtype <U1, expected numbers"):
        NearestStateExpert(Demonstrations(np.array(["a", "b"]), np.zeros(2)))


def test_without_scikit_learn_it_names_what_to_install_and_the_package_loads():
    code = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from nlf_sb3 import Demonstrations, MissingExtraError
from nlf_sb3.teachers import NearestStateExpert
try:
    NearestStateExpert(Demonstrations(np.zeros((1, 1)), np.zeros(1)))
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'NearestStateExpert needs sklearn, which is not installed. Install it with: pip install "nlf-sb3[data]"'
    )


# --- at work ----------------------------------------------------------------------------------------


def test_five_recorded_episodes_balance_cartpole(recorded):
    expert = NearestStateExpert(recorded)
    env = gym.make("CartPole-v1")
    returns = []
    for seed in range(100, 106):
        observation, _ = env.reset(seed=seed)
        done, total = False, 0.0
        while not done:
            observation, reward, terminated, truncated, _ = env.step(int(expert.act(observation[None])[0]))
            total += float(reward)
            done = terminated or truncated
        returns.append(total)
    assert np.mean(returns) >= 400, "measured: 484 on average over 50 episodes, 83 in the worst"


def small(env, **kwargs):
    return PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=0, device="cpu", **{"n_epochs": 4, **kwargs})


def test_it_labels_whole_rollouts(recorded, logged):
    model = small(
        "CartPole-v1", expert=NearestStateExpert(recorded, n_neighbors=3), alpha=0.0, learning_rate=3e-3, n_epochs=10
    )
    agreement = logged(model)
    model.learn(512)
    assert model.num_expert_queries == 512
    rates = agreement("feedback/expert_agreement")
    assert rates[0] < 0.6
    assert np.mean(rates[3:]) > 0.68, "measured: 0.76; the agent's actions are samples"


def test_it_teaches_through_the_wrapper_and_keeps_silent_where_it_is_told_to(recorded):
    expert = NearestStateExpert(recorded)
    model = small(FeedbackWrapper(gym.make("CartPole-v1"), ExpertTeacher(expert))).learn(64)
    assert model.num_expert_queries == 64
    near = NearestStateExpert(recorded, max_distance=0.3)
    model = small(FeedbackWrapper(gym.make("CartPole-v1"), ExpertTeacher(near)), on_error="skip").learn(64)
    assert 0 < model.num_expert_queries < 64
    with pytest.raises(FeedbackError, match=r"environment 0, step \d+: .*away from the nearest recorded state"):
        small(FeedbackWrapper(gym.make("CartPole-v1"), ExpertTeacher(near))).learn(64)


def test_it_acts_in_injected_episodes(recorded):
    model = small(TrajectoryInjection(gym.make("CartPole-v1"), NearestStateExpert(recorded))).learn(128)
    assert model.num_expert_steps > 100


def test_images_are_served_through_features():
    rows = Demonstrations(np.array([[0.0], [1.0]]), np.array([0, 1]))
    nearest = NearestStateExpert(rows)
    expert = CallableExpert(lambda images: nearest.act(images.mean(axis=(1, 2, 3))[:, None]))
    assert expert.act(np.stack([np.zeros((4, 4, 3)), np.ones((4, 4, 3))])).tolist() == [0, 1]
