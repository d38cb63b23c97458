"""Schedules that go by more than progress: their numbers, their state, and what they make of a training."""

import pytest

from nlf_sb3 import A2C, PPO, Feedback, FeedbackWrapper, LinearSchedule, TrajectoryInjection
from nlf_sb3.schedules import (
    CosineSchedule,
    GeometricSchedule,
    MaxSchedule,
    PerformanceSchedule,
    RandomSwitch,
    SwitchSchedule,
    TrainingState,
    Trial,
    schedule_from_state,
    schedule_to_state,
)
from nlf_sb3.schedules.trial import standardised_difference
from tests.helpers import ToyEnv, assert_same_model, box_expert, parameters_of


def state(n_updates=0, returns=(), progress=1.0, n_imitated=None):
    return TrainingState(progress, n_updates, tuple(returns), n_updates if n_imitated is None else n_imitated)


@pytest.mark.parametrize(("progress", "expected"), [(1.0, 0.1), (0.75, 0.5), (0.5, 0.9), (0.2, 0.9), (-0.1, 0.9)])
def test_cosine_goes_half_way_in_half_the_time_and_stays(progress, expected):
    assert CosineSchedule(0.1, 0.9, end_fraction=0.5)(progress) == pytest.approx(expected)


def test_cosine_is_flat_at_both_ends():
    schedule = CosineSchedule(0.0, 1.0)
    assert schedule(0.99) < 0.001
    assert schedule(0.01) > 0.999


@pytest.mark.parametrize(("progress", "expected"), [(1.0, 0.0), (0.71, 0.0), (0.7, 1.0), (0.0, 1.0)])
def test_a_switch_switches_once(progress, expected):
    assert SwitchSchedule(0.3)(progress) == expected


def test_dapg_s_weight_decays_beside_a_policy_gradient_of_weight_one():
    schedule = GeometricSchedule(0.1, 0.95)
    for k in (0, 1, 10):
        alpha = schedule.alpha(state(k))
        assert (1 - alpha) / alpha == pytest.approx(0.1 * 0.95**k)


def test_loki_switches_at_a_random_update_that_its_seed_fixes():
    switches = []
    for seed in range(200):
        schedule = RandomSwitch(2, 6, power=3.0, seed=seed)
        alphas = [schedule.alpha(state(k)) for k in range(8)]
        switches.append(alphas.index(1.0))
        assert alphas == sorted(alphas)
        assert RandomSwitch(2, 6, power=3.0, seed=seed).alpha(state(switches[-1])) == 1.0
    assert set(switches) == {2, 3, 4, 5, 6}
    # E[K] = sum k^4 / sum k^3 = 2274 / 440
    assert sum(switches) / 200 == pytest.approx(2274 / 440, abs=0.25)


def test_hand_over_follows_the_mean_return_and_never_goes_back():
    schedule = PerformanceSchedule(100.0, start=0.2, end=1.0, begin_at=0.5, end_at=1.0, window=2)
    assert schedule.alpha(state()) == 0.2
    assert schedule.alpha(state(returns=[10.0])) == 0.2
    assert schedule.alpha(state(returns=[80.0, 70.0])) == pytest.approx(0.2 + 0.8 * 0.5)
    assert schedule.alpha(state(returns=[0.0, 0.0])) == pytest.approx(0.6)
    assert schedule.alpha(state(returns=[150.0, 150.0])) == 1.0


def test_hand_over_with_negative_returns_counts_from_the_worst():
    schedule = PerformanceSchedule(-100.0, start=0.0, begin_at=0.0, worst_return=-300.0)
    assert schedule.alpha(state(returns=[-200.0])) == 0.5
    with pytest.raises(ValueError, match=r"expected more than worst_return, 0\.0.*give the worst"):
        PerformanceSchedule(-100.0)


def test_the_highest_of_several_is_what_ends_first():
    schedule = MaxSchedule([PerformanceSchedule(100.0, start=0.1, end=1.0, begin_at=0.0), LinearSchedule(0.0, 1.0), 0.3])
    assert schedule.alpha(state(progress=1.0)) == 0.3
    assert schedule.alpha(state(progress=0.2)) == pytest.approx(0.8)
    assert schedule.alpha(state(progress=0.2, returns=[100.0])) == 1.0
    schedule.reset()
    assert schedule.alpha(state(progress=1.0)) == 0.3
    with pytest.raises(ValueError, match="schedules: got none"):
        MaxSchedule([])
    with pytest.raises(ValueError, match="alpha: got 2"):
        MaxSchedule([2.0])
    with pytest.raises(ValueError, match="got a Trial, whose verdict would be ignored here"):
        MaxSchedule([Trial(0.5)])


def test_welch_s_statistic_by_hand():
    # Means 3 and 1, variances 1 and 1, three each: 2 / sqrt(2/3).
    assert standardised_difference([2.0, 3.0, 4.0], [0.0, 1.0, 2.0]) == pytest.approx(2 / (2 / 3) ** 0.5)
    assert standardised_difference([2.0, 3.0], [0.0, 1.0, 2.0]) == 0.0
    assert standardised_difference([1.0] * 3, [1.0] * 3) == 0.0
    assert standardised_difference([2.0] * 3, [1.0] * 3) == float("inf")


FIRST = [9.0, 10.0, 11.0, 10.0, 9.0]


def test_a_trial_is_passed_when_returns_have_risen_clearly():
    trial = Trial(0.1, fraction=0.5)
    assert trial.alpha(state(0, FIRST)) == 0.1
    assert trial.is_open
    assert trial.alpha(state(1, [10.0, 9.0, 11.0])) == 0.1
    assert trial.is_open
    assert trial.alpha(state(2, [30.0, 31.0, 32.0, 33.0] * 2)) == 0.1
    assert trial.verdict == "passed"
    assert trial.alpha(state(3, [0.0] * 20, progress=0.0)) == 0.1, "a verdict is final"


def test_a_trial_fails_early_when_returns_fall_and_says_so():
    trial = Trial(LinearSchedule(0.1, 0.9), fraction=0.5)
    trial.alpha(state(0, FIRST))
    with pytest.warns(UserWarning, match=r"mean return 2 of its latest episodes, 9\.8 before it"):
        assert trial.alpha(state(1, [2.0, 1.0, 3.0])) == 1.0
    assert trial.failed
    assert trial.alpha(state(2, [50.0] * 20)) == 1.0
    assert not trial.failed, "the policy is put back once"


def test_a_trial_fails_when_its_time_is_over():
    trial = Trial(0.1, fraction=0.2, least_updates=0)
    trial.alpha(state(0, FIRST))
    trial.alpha(state(1, FIRST, progress=0.81))
    assert trial.is_open
    with pytest.warns(UserWarning, match="did not make the agent better"):
        assert trial.alpha(state(2, FIRST, progress=0.79)) == 1.0


def test_one_standard_error_decides_when_the_time_is_over():
    # Few long episodes of an agent that has learnt: 280 on average, at 1.6 standard errors from the yardstick.
    trial = Trial(0.1, fraction=0.2, least_updates=0)
    trial.alpha(state(0, FIRST))
    trial.alpha(state(1, [500.0, 40.0, 300.0], progress=0.9))
    assert trial.is_open
    assert trial.alpha(state(2, [], progress=0.7)) == 0.1
    assert trial.verdict == "passed"


def test_a_trial_has_its_rollouts_in_a_short_training():
    trial = Trial(0.1, fraction=0.2, least_updates=5)
    trial.alpha(state(0, FIRST))
    for k in range(1, 5):
        assert trial.alpha(state(k, FIRST, progress=0.1)) == 0.1
    with pytest.warns(UserWarning, match="did not make the agent better"):
        assert trial.alpha(state(5, FIRST, progress=0.1)) == 1.0


def test_the_yardstick_is_what_the_agent_did_last_before_it_imitated():
    trial = Trial(0.1, episodes=3)
    trial.alpha(state(0, [1.0, 2.0], n_imitated=0))
    trial.alpha(state(1, [3.0, 4.0], n_imitated=0))
    assert trial.first == [2.0, 3.0, 4.0]
    assert not trial.recent
    assert trial.alpha(state(500, [0.0] * 20, progress=0.0, n_imitated=0)) == 0.1, "nothing was imitated, nothing is judged"


def test_the_first_rollouts_of_imitation_lend_episodes_and_no_more():
    trial = Trial(0.1, episodes=5)
    trial.alpha(state(0, [1.0]))
    for k in (1, 2, 3):
        trial.alpha(state(k, [2.0]))
    trial.alpha(state(4, [900.0] * 3))
    assert trial.first == [1.0, 2.0, 2.0, 2.0]
    assert trial.verdict == "passed"


def test_where_episodes_are_too_long_for_a_yardstick_there_is_no_trial():
    trial = Trial(0.1, fraction=0.2, least_updates=0)
    for k in range(5):
        trial.alpha(state(k, [1.0] if k == 2 else [], progress=0.5))
    assert trial.verdict == "passed"


SCHEDULES = [
    CosineSchedule(0.1, 0.9, 0.4),
    SwitchSchedule(0.3, 0.2, 0.8),
    GeometricSchedule(0.2, 0.9),
    RandomSwitch(1, 3, seed=4),
    PerformanceSchedule(10.0, window=3),
    Trial(PerformanceSchedule(10.0, window=3), fraction=0.4),
    Trial(0.25),
    Trial(MaxSchedule([PerformanceSchedule(10.0, window=3), LinearSchedule(0.1, 1.0), 0.2])),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_schedules_are_saved_as_plain_data_with_their_state(schedule):
    if hasattr(schedule, "alpha"):
        schedule.alpha(state(returns=[3.0, 4.0]))
    saved = schedule_to_state(schedule)
    assert_plain(saved)
    assert schedule_from_state(saved) == schedule


def assert_plain(value):
    assert type(value) in (dict, list, str, float, int, bool, type(None)), value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


def test_what_earlier_versions_saved_is_read():
    assert schedule_from_state({"schedule": "linear", "start": 0.1, "end": 0.9, "end_fraction": 0.5}) == LinearSchedule(
        0.1, 0.9, 0.5
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeometricSchedule(0.0), "initial: got 0.0"),
        (lambda: GeometricSchedule(1.0, 1.5), "factor: got 1.5"),
        (lambda: RandomSwitch(3, 2), "least, most: got 3, 2"),
        (lambda: PerformanceSchedule(1.0, begin_at=1.0), "begin_at, end_at: got 1.0, 1.0"),
        (lambda: Trial(1.5), "alpha: got 1.5"),
        (lambda: Trial(0.5, fraction=0.0), "fraction: got 0.0"),
        (lambda: Trial(0.5, window=0), "window: got 0"),
        (lambda: SwitchSchedule(-1.0), "fraction: got -1.0"),
        (lambda: CosineSchedule(0.1, 0.9, 0.0), "end_fraction: got 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def ppo(**arguments):
    return PPO("MlpPolicy", ToyEnv("box"), n_steps=32, batch_size=32, n_epochs=2, seed=3, device="cpu", **arguments)


class Spy(GeometricSchedule):
    """Remembers what it was asked; a model's copy of it is itself."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __deepcopy__(self, memo):
        return self

    def alpha(self, state):
        self.asked.append(state)
        return super().alpha(state)


def test_a_model_asks_once_a_rollout_with_its_episodes():
    spy = Spy()
    model = ppo(alpha=spy, expert=box_expert).learn(96)
    assert [one.n_updates for one in spy.asked] == [0, 1, 2]
    assert [one.progress_remaining for one in spy.asked] == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert [r for one in spy.asked for r in one.episode_returns] == [info["r"] for info in model.ep_info_buffer]


class AlwaysWorse(Trial):
    """Fails with the third rollout of imitation, whatever comes."""

    has_just_failed = False

    def alpha(self, state):
        self.has_just_failed = self.verdict is None and state.n_imitated == 2
        if self.has_just_failed:
            self.verdict = "failed"
        return self.schedule if self.verdict is None else 1.0

    @property
    def failed(self):
        return self.has_just_failed


def holds_a_policy_to_put_back(model):
    """Whether a failure of the schedule would put a policy back now."""
    model.alpha.verdict, model.alpha.has_just_failed = "failed", True
    return model.feedback.schedule.restore_if_failed()


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_failed_trial_puts_the_policy_back_and_trains_on_as_sb3(algorithm):
    sizes = {"n_steps": 32, **({"batch_size": 32, "n_epochs": 2} if algorithm is PPO else {})}
    model = algorithm("MlpPolicy", ToyEnv("box"), seed=3, device="cpu", alpha=AlwaysWorse(0.1), expert=box_expert, **sizes)
    before = parameters_of(model.policy).clone()
    model.learn(64)
    assert not before.equal(parameters_of(model.policy))
    model.learn(32, reset_num_timesteps=False)
    assert before.equal(parameters_of(model.policy)), "put back, and the rollout of the other policy is left"
    assert not any(model.policy.optimizer.state_dict()["state"]), "the optimiser too"
    model.learn(32, reset_num_timesteps=False)
    assert not before.equal(parameters_of(model.policy))
    assert not holds_a_policy_to_put_back(model)


def test_models_don_t_share_a_schedule_s_state_and_a_new_training_begins_anew():
    trial = Trial(0.1)
    first, second = ppo(alpha=trial, expert=box_expert), ppo(alpha=trial, expert=box_expert)
    first.learn(64)
    assert first.alpha.first
    assert not second.alpha.first
    assert not trial.first
    kept = list(first.alpha.first)
    first.learn(32, reset_num_timesteps=False)
    assert first.alpha.first[: len(kept)] == kept
    first.learn(32)
    assert first.alpha.first[: len(kept)] != kept


def test_schedules_with_state_are_saved_and_restored_with_the_model(tmp_path):
    model = ppo(alpha=Trial(PerformanceSchedule(5.0)), expert=box_expert).learn(64)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=ToyEnv("box"))
    assert loaded.alpha == model.alpha
    assert loaded.alpha.first
    assert loaded.feedback.schedule.state_dict() == model.feedback.schedule.state_dict()
    assert loaded.feedback.schedule.state_dict()["n_rollouts"] == 2


def test_without_anything_to_imitate_a_trial_changes_nothing():
    first = ppo(alpha=AlwaysWorse(0.1)).learn(128)
    assert_same_model(first, ppo(alpha=0.5).learn(128))
    assert not holds_a_policy_to_put_back(first)


def test_what_is_put_back_is_the_policy_of_just_before_the_first_label():
    silent = 64

    class LateTeacher:
        def __init__(self):
            self.n = 0

        def __call__(self, transition):
            self.n += 1
            return Feedback(expert_action=[0.5, 0.5]) if self.n > silent else None

    env = FeedbackWrapper(ToyEnv("box"), LateTeacher())
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=2, seed=3, device="cpu", alpha=AlwaysWorse(0.1))
    model.learn(silent)
    before = parameters_of(model.policy).clone()
    model.learn(64, reset_num_timesteps=False)
    assert not before.equal(parameters_of(model.policy))
    model.learn(32, reset_num_timesteps=False)
    assert before.equal(parameters_of(model.policy))


def test_loaded_models_take_copies_too(tmp_path):
    ppo(alpha=0.5).save(tmp_path / "model")
    trial = Trial(0.1)
    first, second = (PPO.load(tmp_path / "model", alpha=trial) for _ in range(2))
    assert first.alpha == second.alpha == trial
    assert first.alpha is not second.alpha
    assert first.alpha is not trial


def test_episodes_in_which_an_expert_acted_say_nothing_of_the_agent():
    spy = Spy()
    env = TrajectoryInjection(ToyEnv("box"), box_expert, 0.1, mode="takeover")
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=32, n_epochs=1, seed=3, device="cpu", alpha=spy).learn(128)
    n_episodes, own = len(model.ep_info_buffer), len(spy.asked[0].episode_returns)
    assert 0 < own < n_episodes


def test_alpha_and_the_verdict_are_logged_to_the_end(logged):
    model = ppo(alpha=AlwaysWorse(0.1), expert=box_expert)
    values = logged(model)
    model.learn(128)
    assert values("train/alpha") == pytest.approx([0.1, 0.1, 1.0, 1.0])
    assert values("feedback/trial") == [0.0, 0.0, -1.0, -1.0]
