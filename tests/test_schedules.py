"""How alpha moves, and what happens when it leaves [0, 1]."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlf_sb3 import A2C, PPO, REINFORCE, ConstantSchedule, LinearSchedule
from nlf_sb3.schedules import as_schedule, check_alpha, schedule_from_state, schedule_to_state

UNIT = st.floats(0.0, 1.0)
NOT_ALPHA = [-0.1, 1.0001, math.nan, math.inf, -math.inf, "0.5", "linear", True, False, None, [0.5], 0.5j]


@given(UNIT, UNIT)
def test_constant_schedule_is_the_same_throughout(alpha, progress):
    assert ConstantSchedule(alpha)(progress) == alpha


@given(UNIT, UNIT, st.floats(0.01, 1.0), UNIT)
def test_linear_schedule_stays_between_its_ends(start, end, end_fraction, progress):
    value = LinearSchedule(start, end, end_fraction)(progress)
    assert min(start, end) - 1e-12 <= value <= max(start, end) + 1e-12


@pytest.mark.parametrize(
    ("end_fraction", "progress", "expected"),
    [(1.0, 1.0, 0.2), (1.0, 0.5, 0.5), (1.0, 0.0, 0.8), (0.5, 0.75, 0.5), (0.5, 0.5, 0.8), (0.5, 0.1, 0.8), (0.5, -0.2, 0.8)],
)
def test_linear_schedule_reaches_its_end_at_end_fraction_and_stays(end_fraction, progress, expected):
    # SB3's last rollout overshoots total_timesteps, and then the progress remaining is negative.
    assert LinearSchedule(0.2, 0.8, end_fraction)(progress) == pytest.approx(expected)


@pytest.mark.parametrize("alpha", NOT_ALPHA)
@pytest.mark.parametrize(
    "make",
    [check_alpha, ConstantSchedule, lambda a: LinearSchedule(a, 0.5), lambda a: LinearSchedule(0.5, a)],
    ids=["check_alpha", "constant", "linear start", "linear end"],
)
def test_what_is_no_alpha_is_refused_with_what_came_and_what_was_expected(make, alpha):
    with pytest.raises(ValueError, match=r"alpha: got .*expected a number in \[0, 1\].*or a schedule") as caught:
        make(alpha)
    assert repr(alpha) in str(caught.value)


@pytest.mark.parametrize("end_fraction", [0.0, -0.5, 1.5, math.nan])
def test_end_fraction_outside_zero_to_one_is_refused(end_fraction):
    with pytest.raises(ValueError, match=r"end_fraction: got .* expected a number in \(0, 1\]"):
        LinearSchedule(0.0, 1.0, end_fraction)


@pytest.mark.parametrize("alpha", [0, 1, 0.25, np.float32(0.25), np.float64(0.25), np.int64(1)])
def test_every_real_number_in_range_is_an_alpha(alpha):
    assert check_alpha(alpha) == float(alpha)
    assert as_schedule(alpha)(0.3) == float(alpha)


def test_a_function_is_its_own_schedule():
    assert as_schedule(math.sqrt) is math.sqrt


@pytest.mark.parametrize("schedule", [ConstantSchedule(0.3), LinearSchedule(0.1, 0.9, 0.4)])
def test_our_schedules_are_saved_as_plain_data_and_come_back_equal(schedule):
    state = schedule_to_state(schedule)
    assert type(state) is dict
    assert {type(value) for value in state.values()} <= {str, float}
    assert schedule_from_state(state) == schedule


def test_a_user_s_function_is_saved_as_it_is():
    assert schedule_from_state(schedule_to_state(math.sqrt)) is math.sqrt


@pytest.mark.parametrize("algorithm", [PPO, A2C, REINFORCE])
@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, "0.5", True])
def test_algorithms_refuse_a_number_outside_zero_to_one_at_construction(algorithm, alpha):
    with pytest.raises(ValueError, match=r"alpha: got .*expected a number in \[0, 1\]"):
        algorithm("MlpPolicy", "Line-v0", alpha=alpha)


@pytest.mark.parametrize("algorithm", [PPO, A2C, REINFORCE])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, None])
def test_algorithms_refuse_what_a_schedule_returns_when_it_returns_it(algorithm, value):
    sizes = {PPO: {"n_steps": 8, "batch_size": 8}}.get(algorithm, {})
    model = algorithm("MlpPolicy", "Line-v0", alpha=lambda progress: value, seed=0, **sizes)
    with pytest.raises(ValueError, match=r"alpha: got .*expected a number in \[0, 1\]") as caught:
        model.learn(8)
    assert repr(value) in str(caught.value)


def test_a_schedule_is_followed_from_update_to_update(logged):
    model = PPO(
        "MlpPolicy",
        "Line-v0",
        n_steps=8,
        batch_size=8,
        n_epochs=1,
        seed=0,
        alpha=LinearSchedule(0.0, 1.0),
        expert=lambda observations: np.ones(len(observations), int),
    )
    values = logged(model)
    model.learn(32)
    assert values("train/alpha") == pytest.approx([0.25, 0.5, 0.75, 1.0])
