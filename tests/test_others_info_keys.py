"""What environments put into infos by names of ours, and methods of theirs that are called as ours, are left alone."""

from __future__ import annotations

import functools
import warnings

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from foreign_envs import ArrayEnv, OneArrayExpert, masks_of
from helpers import assert_same_model
from learners import ALGORITHMS, learner
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import nlf_sb3
from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.infos import episode_return
from nlf_sb3.schedules import AdaptiveAlpha

SB3S = [name for name in ALGORITHMS if name != "REINFORCE"]
THEIRS = {name: getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name) for name in SB3S}
SEVERAL_ROLLOUTS = 72
BOX = ArrayEnv("box").action_space


class Adds(gym.Wrapper):
    """Adds entries to each step's info."""

    def __init__(self, env, entries):
        super().__init__(env)
        self.entries = entries

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, **self.entries(action, terminated or truncated)}


def always(**entries):
    return lambda action, done: entries


def at_ends(**entries):
    return lambda action, done: entries if done else {}


QUIET = {
    "a string for it": always(executed_action="left"),
    "takeover": always(takeover=True, intervention=np.ones(2), is_expert=True),
    "nlf_sb3.takeover": always(**{"nlf_sb3.takeover": {"action": np.ones(2)}}),
    "nlf_sb3.step": always(**{"nlf_sb3.step": 7}),
    "feedback_error": always(feedback_error="force sensor saturated"),
    "no feedback": always(feedback=None, expert_segment=None, feedback_error=None),
    "action_mask": always(action_mask=np.zeros(3, bool), action_masks=[1, 0]),
    "score and text": always(score=3, text="lap 2", reward=7.0, task_reward=3.0, label="sample", expert_action=np.ones(2)),
    "an episode of None": lambda action, done: {"episode": {"r": 5.0, "l": 5, "t": 0.1} if done else None},
    "an episode of arrays": at_ends(episode={"r": np.array([5.0]), "l": np.array([5]), "t": np.array([0.1])}),
    "an episode of NaN": at_ends(episode={"r": float("nan"), "l": 5}),
    "an episode of another library's": always(episode={"length": 5, "success": True}),
    "an empty episode": always(episode={}),
}
LOUD = {
    "executed_action": lambda action, done: {"executed_action": np.clip(action, -0.5, 0.5), "executed_log_prob": 0.0},
    "feedback": always(feedback={"grade": 0.5, "lap": 2}),
    "feedback as text": always(feedback="Keep left."),
    "feedback as an array": always(feedback=np.ones(6)),
    "feedback by our names": always(feedback={"score": 0.3, "text": "x"}),
    "empty feedback": always(feedback={}),
    "expert_segment": always(expert_segment=3),
    "expert_segment as an array": always(expert_segment=np.ones(4)),
    "expert_segment as a range": always(expert_segment=(0, 5)),
    "expert_segment as a list": always(expert_segment=[1]),
    "expert_segment by our names": always(expert_segment={"actions": [1]}),
}

ALL = {**QUIET, **LOUD}


def env_of(algorithm, entries):
    return Adds(ArrayEnv("masked" if algorithm == "MaskablePPO" else "box"), entries)


def trained(algorithm, entries, subclass=None):
    # SB3's own log needs an episode's return, so that nothing is logged.
    env = DummyVecEnv([lambda: env_of(algorithm, entries)] * 2)
    return learner(algorithm, env, subclass=subclass).learn(SEVERAL_ROLLOUTS, log_interval=10**6)


@functools.cache
def trained_by_sb3(algorithm):
    return trained(algorithm, always(), THEIRS[algorithm])


# --- infos without feedback -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUIET)
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_an_environment_s_own_entries_change_nothing(algorithm, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "You have specified a mini-batch size")
        model = trained(algorithm, QUIET[name])
    assert_same_model(model, trained_by_sb3(algorithm))
    assert (model.num_expert_steps, model.num_expert_queries) == (0, 0)


@pytest.mark.parametrize("name", QUIET)
def test_sb3_itself_takes_these_entries(name):
    assert_same_model(trained("PPO", QUIET[name], THEIRS["PPO"]), trained_by_sb3("PPO"))


@pytest.mark.parametrize("name", LOUD)
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_what_is_taken_for_another_library_s_feedback_is_named_once_and_changes_nothing(algorithm, name):
    with pytest.warns(UserWarning, match="taken for another library's, and") as caught:
        model = trained(algorithm, LOUD[name])
    assert sum("another library" in str(warning.message) for warning in caught) == 1
    assert_same_model(model, trained_by_sb3(algorithm))


@pytest.mark.parametrize("algorithm", SB3S)
def test_all_of_them_together_change_nothing(algorithm):
    def together(action, done):
        parts = {**QUIET, **LOUD}
        if algorithm == "MaskablePPO":
            parts["action_mask"] = always(action_mask=np.zeros(3, bool))
        return {key: value for one in parts.values() for key, value in one(action, done).items()}

    with pytest.warns(UserWarning, match="another library"):
        model = trained(algorithm, together)
    assert_same_model(model, trained_by_sb3(algorithm))
    assert model.num_expert_steps == 0


def test_reinforce_trains_as_without_them():
    models = [trained("REINFORCE", entries) for entries in (LOUD["executed_action"], always())]
    assert_same_model(*models)


def test_worker_processes_bring_them_too():
    env = SubprocVecEnv([functools.partial(env_of, "PPO", clipped)] * 2, start_method="fork")
    model = learner("PPO", env).learn(SEVERAL_ROLLOUTS)
    env.close()
    assert_same_model(model, trained_by_sb3("PPO"))


def clipped(action, done):
    return {"executed_action": np.clip(action, -0.5, 0.5), "episode": None}


@pytest.mark.parametrize("mistake", [Feedback, [Feedback(score=1.0)]], ids=["class", "list"])
def test_a_mistaken_record_is_still_refused(mistake):
    with pytest.raises(FeedbackError, match=r"expected nlf_sb3.Feedback. Build one from its parts"):
        trained("PPO", always(feedback=mistake))


@pytest.mark.parametrize(
    ("episode", "expected"),
    [
        ({"r": 5.0}, 5.0),
        ({"r": np.float32(5.0), "l": 3}, 5.0),
        ({"r": np.array([5.0])}, 5.0),
        ({"r": np.array(5.0)}, 5.0),
        ({"r": np.array([1.0, 2.0])}, None),
        ({"r": np.array([])}, None),
        ({"r": float("nan")}, None),
        ({"r": None}, None),
        ({"r": "high"}, None),
        ({"r": [[1.0], [2.0, 3.0]]}, None),
        ({"length": 5}, None),
        ({}, None),
        (None, None),
        (3, None),
        ("won", None),
    ],
    ids=str,
)
def test_an_episode_s_return_is_one_number_or_none(episode, expected):
    assert episode_return({"episode": episode}) == expected
    assert episode_return({}) is None


class Notes(AdaptiveAlpha):
    """Keeps the returns that it is told."""

    def __init__(self):
        self.returns = []

    def alpha(self, state):
        self.returns += state.episode_returns
        return 0.5


@pytest.mark.parametrize("between", [{}, {"episode": None}, {"episode": {"length": 2}}], ids=str)
def test_schedules_hear_of_the_returns_that_are_numbers(between):
    def entries(action, done):
        return {"episode": {"r": np.array([3.0]), "l": np.array([4])}} if done else between

    notes = Notes()
    model = learner("PPO", DummyVecEnv([lambda: Adds(ArrayEnv(), entries)]), alpha=notes, expert=OneArrayExpert(BOX))
    model.learn(SEVERAL_ROLLOUTS, log_interval=10**6)
    assert len(model.alpha.returns) > 5
    assert set(model.alpha.returns) == {3.0}


# --- infos beside feedback ------------------------------------------------------------------------------


def test_a_teacher_sees_the_action_that_its_environment_was_given():
    seen = []
    env = FeedbackWrapper(Adds(ArrayEnv(), LOUD["executed_action"]), lambda transition: seen.append(transition.action))
    env.reset(seed=0)
    env.step(np.ones(2, np.float32))
    assert seen[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "entries", [*QUIET.values(), LOUD["feedback"], LOUD["executed_action"]], ids=[*QUIET, "feedback", "executed_action"]
)
def test_labels_teach_what_they_teach_without_them(entries):
    def one(added):
        return FeedbackWrapper(Adds(ArrayEnv(), added), lambda transition: Feedback(expert_action=np.zeros(2, np.float32)))

    models = [
        learner("PPO", DummyVecEnv([lambda added=added: one(added)])).learn(36, log_interval=10**6)
        for added in (entries, always())
    ]
    assert_same_model(*models)
    assert [model.num_expert_queries for model in models] == [36, 36]


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
@pytest.mark.parametrize("order", ["inside", "around", "with labels"])
@pytest.mark.parametrize("name", ["executed_action", "a string for it", "takeover", "an episode of None"])
def test_takeovers_are_the_ones_that_our_wrapper_marked(algorithm, order, name):
    def one(entries):
        env = ArrayEnv() if order == "around" else Adds(ArrayEnv(), entries)
        if order == "with labels":
            env = FeedbackWrapper(env, lambda transition: Feedback(expert_action=np.zeros(2, np.float32)))
        env = TrajectoryInjection(env, OneArrayExpert(BOX), 0.3, mode="takeover")
        return Adds(env, entries) if order == "around" else env

    models = [
        learner(algorithm, DummyVecEnv([lambda entries=entries: one(entries)])).learn(SEVERAL_ROLLOUTS, log_interval=10**6)
        for entries in (ALL[name], always())
    ]
    assert_same_model(*models)
    assert 0 < models[0].num_expert_steps == models[1].num_expert_steps < SEVERAL_ROLLOUTS


@pytest.mark.parametrize("name", ["feedback_error", "executed_action", "no feedback"])
def test_forks_pass_over_the_twin_s_own_entries(name):
    def one():
        return Adds(ArrayEnv(), ALL[name])

    model = learner("PPO", DummyVecEnv([lambda: TrajectoryInjection(one(), OneArrayExpert(BOX), 0.5, twin=one)]))
    assert model.learn(SEVERAL_ROLLOUTS).num_expert_steps > 0


def test_a_failure_of_ours_is_told_beside_an_environment_s_own():
    def fails(transition):
        raise ZeroDivisionError("no such grade")

    env = FeedbackWrapper(Adds(ArrayEnv(), QUIET["feedback_error"]), fails)
    with pytest.raises(FeedbackError, match="no such grade") as caught:
        learner("PPO", DummyVecEnv([lambda: env])).learn(36)
    assert "force sensor" not in str(caught.value)


# --- methods and attributes -----------------------------------------------------------------------------


class Mine(gym.Wrapper):
    """Has methods and attributes of its own by names that a library of feedback might look for."""

    injection_mode = "fork"
    injection_is_scheduled = True
    injection_action_space = feedback_action_space = "narrow"
    teacher = expert = "nobody"
    difficulty = 1.0

    def set_progress(self, difficulty, *, level=None):
        self.difficulty = difficulty

    def state(self):
        raise AssertionError("nobody asked for the state")

    expert_action = feedback = score = takeover = executed_action = log_prob = state


def test_an_environment_s_own_methods_are_not_called():
    model = learner("PPO", DummyVecEnv([lambda: Mine(ArrayEnv())] * 2)).learn(SEVERAL_ROLLOUTS)
    assert_same_model(model, trained_by_sb3("PPO"))
    assert set(model.env.get_attr("difficulty")) == {1.0}


@pytest.mark.parametrize("order", [lambda inner: Mine(inner), lambda inner: Monitor(Mine(inner))], ids=["outermost", "inside"])
def test_progress_reaches_the_schedule_through_a_wrapper_that_has_such_a_method(order):
    told = []

    def probability(remaining):
        told.append(remaining)
        return 0.1 + 0.5 * remaining

    env = DummyVecEnv([lambda: order(TrajectoryInjection(ArrayEnv(), OneArrayExpert(BOX), probability, twin=ArrayEnv))])
    told.clear()
    model = learner("PPO", env).learn(120)
    assert told[-1] == pytest.approx(0.1)
    assert model.num_expert_steps > 0
    assert model.env.get_attr("difficulty") == [1.0]


@pytest.mark.parametrize("mode", ["fork", "takeover"])
def test_our_wrappers_are_asked_through_attributes_of_theirs(mode):
    kwargs = {"twin": ArrayEnv} if mode == "fork" else {}

    def one(wrap):
        injected = TrajectoryInjection(wrap(ArrayEnv()), OneArrayExpert(BOX), 0.4, mode=mode, **kwargs)
        return wrap(FeedbackWrapper(wrap(injected), lambda transition: Feedback(score=1.0)))

    models = [
        learner("PPO", DummyVecEnv([lambda wrap=wrap: one(wrap)])).learn(SEVERAL_ROLLOUTS) for wrap in (Mine, lambda env: env)
    ]
    assert_same_model(*models)
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0


def test_a_score_may_be_the_reward_around_a_wrapper_with_a_mode_of_its_own():
    env = FeedbackWrapper(Mine(ArrayEnv()), lambda transition: Feedback(score=2.0), score_as_reward="replace")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[1] == 2.0


class MasksAsArray(gym.Wrapper):
    """Has its masks as an array, not as a method."""

    @property
    def action_masks(self):
        return masks_of(self.unwrapped.state[None])[0]


def test_masks_that_are_no_method_are_left_alone():
    env = FeedbackWrapper(
        MasksAsArray(ArrayEnv("discrete")), lambda transition: Feedback(score=float(transition.action_masks is None))
    )
    env.reset(seed=0)
    assert env.step(0)[4]["feedback"].score == 1.0


class PersonActs(gym.Wrapper):
    """In every second step a person acts in the agent's place."""

    count = 0

    def step(self, action):
        self.count += 1
        if self.count % 2:
            return self.env.step(action)
        *rest, info = self.env.step(np.zeros(2, np.float32))
        return *rest, {**info, nlf_sb3.TAKEOVER_KEY: nlf_sb3.Takeover(np.zeros(2, np.float32))}


def test_a_wrapper_of_a_user_s_own_may_mark_takeovers():
    model = learner("PPO", DummyVecEnv([lambda: PersonActs(ArrayEnv())])).learn(12)
    assert model.num_expert_steps == 6
    assert model.rollout_buffer.executed[:, 0].tolist() == [False, True] * 6
