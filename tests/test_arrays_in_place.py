"""What an environment, wrapper, expert or teacher hands over and then changes is kept as it was at that step."""

from __future__ import annotations

import copy
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from foreign_envs import ArrayEnv, OneArrayExpert, OneArrayTeacher, masks_of, scribble
from helpers import assert_same_model
from learners import ALGORITHMS, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import (
    Demonstrations,
    ExpertSegment,
    Feedback,
    FeedbackWrapper,
    Imitation,
    Injection,
    LabelReplay,
    TrajectoryInjection,
)
from nlf_sb3.teachers import ExpertTeacher, LQRExpert, NearestStateExpert

KINDS = ("box", "discrete", "masked", "multidiscrete")


def same(first, second):
    """Whether two values are equal, arrays number by number."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(np.array_equal(first, second))


def make_env(kind, in_place, **kwargs):
    return ArrayEnv(kind, in_place=in_place, **kwargs)


def make_expert(kind, in_place):
    return OneArrayExpert(ArrayEnv(kind).action_space, in_place=in_place)


def play(env, n_episodes=3, seed=0):
    """An agent that acts by one array too. Returns copies of what it saw and did, and the infos as they came."""
    space, seen, infos = copy.deepcopy(env.action_space), [], []
    space.seed(1)
    for episode in range(n_episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            action = np.array(space.sample()) if space.shape else space.sample()
            seen.append((copy.deepcopy(observation), copy.deepcopy(action)))
            observation, reward, terminated, truncated, info = env.step(action)
            scribble(action)
            seen.append((copy.deepcopy(observation), reward, terminated, truncated))
            infos.append(info)
            ended = terminated or truncated
    return seen, infos


# --- forks ---------------------------------------------------------------------------------------------


def segments(kind, in_place, **kwargs):
    env = make_env(kind, in_place, **kwargs)
    injected = TrajectoryInjection(
        env, make_expert(kind, in_place), 0.4, twin=lambda: make_env(kind, in_place, **kwargs), max_segment_steps=4
    )
    seen, infos = play(injected, n_episodes=12)
    assert not [info["feedback_error"] for info in infos if "feedback_error" in info]
    return seen, [info["expert_segment"] for info in infos if "expert_segment" in info]


def fields_of(segment):
    return {name: value for name, value in vars(segment).items() if value is not None}


@pytest.mark.parametrize("dict_observation", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_injected_episode_is_the_one_of_environments_and_experts_that_hand_out_copies(kind, dict_observation):
    (seen, in_place), (seen_copies, copies) = (
        segments(kind, flag, dict_observation=dict_observation) for flag in (True, False)
    )
    assert same(seen, seen_copies)
    assert len(copies) > 5
    assert {segment.fork_step > 0 for segment in copies} == {True, False}
    for mine, expected in zip(in_place, copies, strict=True):
        assert same(fields_of(mine), fields_of(expected))


def test_an_injected_episode_s_rows_are_the_expert_s_own():
    expert = make_expert("box", True)
    _, found = segments("box", True)
    for segment in found:
        own = slice(segment.fork_step, None)
        assert same(segment.actions[own], expert.wished(segment.observations[own]))
    _, found = segments("masked", True)
    for segment in found:
        assert same(segment.action_masks, masks_of(segment.observations))


def test_options_that_the_environment_takes_away_reach_the_twin():
    env = TrajectoryInjection(ArrayEnv(), make_expert("box", True), 1.0, twin=ArrayEnv)
    env.reset(seed=0, options={"shift": 5.0})
    ended = False
    while not ended:
        _, _, ended, _, info = env.step(np.zeros(2, np.float32))
    assert (info["expert_segment"].observations[0] > 3).all()


def test_a_segment_keeps_copies_of_what_it_is_given():
    arrays = {
        "observations": {"walk": np.zeros((3, 2))},
        "actions": np.zeros(3),
        "rewards": np.zeros(3),
        "last_observation": {"walk": np.zeros(2)},
        "expert_log_probs": np.zeros(3),
        "action_masks": np.zeros((3, 2), bool),
    }
    segment = ExpertSegment(**arrays, terminated=True, truncated=False, fork_step=0)
    scribble(arrays)
    for name in arrays:
        value = getattr(segment, name)
        assert not np.any(value["walk"] if isinstance(value, dict) else value), name


# --- takeovers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [{"mode": "takeover", "fork_probability": 0.4}, {"mode": "guide", "guide_steps": 4}], ids=str)
def test_what_an_expert_executed_is_told_as_it_was(kind, mode):
    env = make_env(kind, True)
    _, infos = play(TrajectoryInjection(env, make_expert(kind, True), **mode), n_episodes=8)
    told = [
        (info["executed_action"], executed)
        for info, executed in zip(infos, env.executed, strict=True)
        if "executed_action" in info
    ]
    assert len(told) > 5
    assert all(same(*pair) for pair in told)
    assert len({np.array(action).tobytes() for action, _ in told}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_takeovers_are_the_ones_of_environments_and_experts_that_hand_out_copies(kind):
    played = []
    for in_place in (True, False):
        env = make_env(kind, in_place)
        seen, _ = play(TrajectoryInjection(env, make_expert(kind, in_place), 0.3, mode="takeover"), n_episodes=8)
        played.append((seen, env.executed))
    assert same(*played)


# --- teachers ------------------------------------------------------------------------------------------


def taught(kind, in_place, n_teachers=1, **kwargs):
    teachers = [OneArrayTeacher(make_expert(kind, False), scribbles=False)]
    if n_teachers > 1:
        first = OneArrayTeacher(make_expert(kind, False), scribbles=in_place)
        teachers.insert(0, lambda transition: first(transition) and None)
    env = FeedbackWrapper(make_env(kind, in_place, **kwargs), teachers)
    seen, infos = play(env)
    assert not [info["feedback_error"] for info in infos if "feedback_error" in info]
    return seen, [tuple(transition) for transition in teachers[-1].kept], [info["feedback"].expert_action for info in infos]


@pytest.mark.parametrize("n_teachers", [1, 2])
@pytest.mark.parametrize("dict_observation", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_keeps_each_step_as_it_was(kind, dict_observation, n_teachers):
    in_place, copies = (taught(kind, flag, n_teachers, dict_observation=dict_observation) for flag in (True, False))
    assert same(in_place[0], copies[0])
    assert same(in_place[2], copies[2])
    for mine, expected in zip(in_place[1], copies[1], strict=True):
        assert same(mine, expected)
    masks = [transition[-1] for transition in in_place[1]]
    assert (masks[0] is None) == (kind != "masked")


def test_a_teacher_may_write_into_what_it_is_shown():
    played = []
    for scribbles in (True, False):
        teacher = OneArrayTeacher(make_expert("masked", True), scribbles=scribbles)
        env = ArrayEnv("masked")
        seen, infos = play(FeedbackWrapper(env, teacher))
        assert not any("scribbled" in info for info in infos)
        played.append((seen, env.executed, [info["feedback"].expert_action for info in infos]))
    assert same(*played)


class Tells(gym.Wrapper):
    """Adds what it is given to each step's info."""

    def __init__(self, env, info):
        super().__init__(env)
        self.told = info

    def step(self, action):
        *returned, info = self.env.step(action)
        return *returned, {**info, **self.told}


class Uncopied:
    """Part of a simulator, of which there is one."""

    def __deepcopy__(self, memo):
        raise TypeError("it can't be copied")


def told_by(info, *teachers):
    env = FeedbackWrapper(Tells(ArrayEnv(), info), list(teachers))
    env.reset(seed=0)
    told = env.step(np.zeros(2, np.float32))[4]
    assert "feedback_error" not in told
    return told


@pytest.mark.parametrize("n_teachers", [1, 2])
def test_objects_in_an_info_that_can_t_be_copied_are_handed_on(n_teachers):
    itself = {"x": 1}
    itself["me"] = itself
    info = {"simulator": Uncopied(), "tensor": 2 * th.ones(1, requires_grad=True), "itself": itself, "lock": threading.Lock()}
    seen = []
    told = told_by(info, *[lambda transition: seen.append(transition.info)] * n_teachers)
    assert len(seen) == n_teachers
    for one in (told, *seen):
        assert all(one[key] is info[key] for key in ("simulator", "tensor", "lock"))
        assert one["itself"]["me"]["x"] == 1


@pytest.mark.parametrize("n_teachers", [1, 2])
def test_neither_the_learner_nor_the_next_teacher_sees_what_a_teacher_writes_into_an_info(n_teachers):
    def nested():
        return {"flat": np.zeros(2), "deep": {"list": [np.zeros(2), (np.zeros(2),)]}, "names": ["a"]}

    seen = []

    def writes(transition):
        seen.append(copy.deepcopy({key: transition.info[key] for key in nested()}))
        scribble(transition.info["flat"], transition.info["deep"]["list"][0], transition.info["deep"]["list"][1][0])
        transition.info["deep"]["list"].append(1)
        transition.info["names"].clear()

    info = nested()
    told = told_by(info, *[writes] * n_teachers)
    for one in ({key: told[key] for key in nested()}, info, *seen):
        np.testing.assert_equal(one, nested())
    assert len(seen) == n_teachers


def test_labels_within_masks_that_change_in_place_are_the_allowed_ones():
    env = FeedbackWrapper(ArrayEnv("masked"), ExpertTeacher(make_expert("masked", True)))
    seen, infos = play(env)
    acted_in = np.stack([pair[0] for pair in seen[::2]])
    last_allowed = 2 - masks_of(acted_in)[:, ::-1].argmax(axis=1)
    assert [int(info["feedback"].expert_action) for info in infos] == last_allowed.tolist()
    assert len(set(last_allowed.tolist())) > 1


def test_a_record_keeps_the_action_as_it_was_and_nobody_can_change_it():
    action = np.zeros(2, np.float32)
    feedback = Feedback(expert_action=action)
    action[:] = 1
    assert not feedback.expert_action.any()
    assert not feedback.expert_action.flags.writeable


class Reuses(gym.ObservationWrapper):
    """Observes in one array, as stacks of frames do."""

    def __init__(self, env):
        super().__init__(env)
        self.array = np.zeros(3, np.float32)

    def observation(self, observation):
        self.array[:] = observation
        return self.array


def test_a_wrapper_inside_that_reuses_its_array_is_seen_as_one_that_does_not():
    shown = []
    for wrap in (Reuses, lambda env: env):
        teacher = OneArrayTeacher(make_expert("box", True), scribbles=False)
        play(FeedbackWrapper(wrap(ArrayEnv(in_place=False)), teacher))
        shown.append([(one.observation, one.next_observation) for one in teacher.kept])
    assert same(*shown)


# --- demonstrations and experts' own arrays -------------------------------------------------------------


def demonstrated(kind="box"):
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
    return observations, make_expert(kind, False).wished(observations)


@pytest.mark.parametrize("is_dict", [False, True])
def test_demonstrations_keep_copies_of_what_they_are_given(is_dict):
    observations, actions = demonstrated("masked")
    weights, masks = np.full(20, 0.5), np.ones((20, 3), bool)
    given = {"walk": observations} if is_dict else observations
    rows = Demonstrations(given, actions, weights=weights, action_masks=masks)
    expected = copy.deepcopy((given, actions, weights, masks))
    scribble(given, actions, weights)
    masks[:] = False
    assert same((rows.observations, rows.actions, rows.weights, rows.action_masks), expected)


@pytest.mark.parametrize("algorithm", ["REINFORCE", "PPO"])
def test_a_model_s_demonstrations_stay_what_they_were_when_it_was_made(algorithm):
    models = []
    for changes in (True, False):
        rows = Demonstrations(*demonstrated())
        model = learner(algorithm, DummyVecEnv([ArrayEnv]), demonstrations=rows, alpha=0.5)
        if changes:
            scribble(rows.observations, rows.actions, rows.weights)
        models.append(model.learn(48))
    assert_same_model(*models)


def test_an_expert_of_recordings_keeps_its_scale_and_a_linear_one_its_gain():
    observations, actions = demonstrated()
    scale, gain = np.array([1.0, 10.0, 100.0]), np.ones((1, 3))
    nearest, linear = (
        NearestStateExpert(Demonstrations(observations, actions), scale=scale),
        LQRExpert(gain, gym.make("Pendulum-v1").action_space),
    )
    asked = np.random.default_rng(1).uniform(-1, 1, (50, 3)).astype(np.float32)
    before = nearest.act(asked), linear.act(asked / 10)
    scale[:] = [100.0, 10.0, 1.0]
    gain[:] = -1.0
    assert same((nearest.act(asked), linear.act(asked / 10)), before)


def test_trajectories_for_imitation_share_no_array_with_the_segment():
    pytest.importorskip("imitation")
    from nlf_sb3.interop.imitation import to_trajectories

    _, found = segments("box", True)
    trajectory = to_trajectories(found[0])[0]
    assert not np.shares_memory(trajectory.acts, found[0].actions)
    assert not np.shares_memory(trajectory.rews, found[0].rewards)
    assert not np.shares_memory(trajectory.obs, found[0].observations)


# --- training ------------------------------------------------------------------------------------------


def trained(algorithm, channel, in_place):
    kind = "masked" if algorithm == "MaskablePPO" else "box"
    expert = make_expert(kind, in_place)
    settings = {"alpha": 0.5}

    def one():
        env = make_env(kind, in_place)
        if channel in ("labels", "memory"):
            return FeedbackWrapper(env, OneArrayTeacher(make_expert(kind, in_place), scribbles=in_place))
        if channel == "takeover":
            return TrajectoryInjection(env, make_expert(kind, in_place), 0.3, mode="takeover")
        if channel in ("fork", "imitated fork"):
            return TrajectoryInjection(env, make_expert(kind, in_place), 0.4, twin=lambda: make_env(kind, in_place))
        return env

    if channel == "expert":
        settings["expert"] = expert
    if channel == "memory":
        settings |= {"imitation": Imitation(replay=LabelReplay(40, per_step=0.5))}
    if channel == "imitated fork":
        settings["injection"] = Injection(segments="imitate")
    return learner(algorithm, DummyVecEnv([one] * 2), **settings).learn(72)


CHANNELS = ("labels", "memory", "expert", "takeover", "fork", "imitated fork")
CELLS = [(algorithm, channel) for algorithm in ("REINFORCE", "PPO", "MaskablePPO") for channel in CHANNELS]
CELLS += [(algorithm, "memory") for algorithm in ALGORITHMS if algorithm in ("A2C", "TRPO")]
CELLS += [("RecurrentPPO", "labels"), ("RecurrentPPO", "takeover"), ("TRPO", "fork")]


@pytest.mark.parametrize(("algorithm", "channel"), CELLS)
@pytest.mark.filterwarnings("ignore:mode='takeover' with normalize_returns")
def test_training_is_the_same_as_with_arrays_that_nobody_changes(algorithm, channel):
    models = [trained(algorithm, channel, in_place) for in_place in (True, False)]
    assert_same_model(*models)
    assert (
        models[0].num_expert_queries + models[0].num_expert_steps == models[1].num_expert_queries + models[1].num_expert_steps
    )
    assert models[0].num_expert_queries + models[0].num_expert_steps > 0 or channel == "imitated fork"
