"""FeedbackWrapper and FixedStart on real environments."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import PENDULUM
from stable_baselines3 import A2C
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from nlf_sb3 import PPO, Feedback, FeedbackError, FeedbackWrapper
from nlf_sb3.teachers import CallableExpert, ExpertTeacher, LQRExpert, PolicyExpert, ScoreTeacher, TextTeacher
from nlf_sb3.wrappers import FixedStart

ACTIONS = ["box", "discrete", "multi_discrete", "multi_binary"]


def line(**kwargs):
    return gym.make("Line-v0", **kwargs)


def still(env):
    """The action that moves nowhere."""
    return np.zeros(env.action_space.shape, env.action_space.dtype) if env.action_space.shape else 0


def play(env, n_steps, seed=0):
    """Random actions from a generator of the test's own; resets without a seed where an episode ends."""
    rng = np.random.default_rng(1)
    steps = [env.reset(seed=seed)]
    for _ in range(n_steps):
        action = rng.integers(2, size=env.action_space.shape).astype(env.action_space.dtype)
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            steps.append(env.reset())
    return steps


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return np.array_equal(first, second)


# --- where feedback sits ----------------------------------------------------------------------------


def test_feedback_sits_on_the_step_that_it_answers_also_on_the_last_one():
    env = FeedbackWrapper(
        line(), TextTeacher(lambda t: f"{t.step} {t.observation[2]:.0f} {t.next_observation[2]:.0f} {t.action}")
    )
    _, info = env.reset(seed=0)
    assert "feedback" not in info
    said = []
    for action in (0, 1, 0, 1, 1):
        _, _, terminated, _, info = env.step(action)
        said.append(info["feedback"].text)
    assert terminated
    assert said == ["0 0 1 0", "1 1 2 1", "2 2 3 0", "3 3 4 1", "4 4 5 1"]


@pytest.mark.parametrize(("actions", "end"), [([1, 1, 1], "terminated"), ([0] * 6, "truncated")])
def test_the_teacher_sees_the_reward_the_info_and_how_the_episode_ends(actions, end):
    seen = []
    env = FeedbackWrapper(line(), lambda t: seen.append((t.reward, t.terminated, t.truncated)))
    env.reset(seed=0)
    for action in actions:
        env.step(action)
    rewards = [10.0 * (step + 1) + action for step, action in enumerate(actions)]
    ends = [(False, False)] * (len(actions) - 1) + [(end == "terminated", end == "truncated")]
    assert seen == [(reward, *flags) for reward, flags in zip(rewards, ends, strict=True)]


def test_steps_and_observations_start_anew_with_each_episode():
    env = FeedbackWrapper(line(), TextTeacher(lambda t: f"{t.step} {t.observation[2]:.0f}"))
    for _ in range(2):
        env.reset()
        assert [env.step(1)[4]["feedback"].text for _ in range(3)] == ["0 0", "1 1", "2 2"]


@pytest.mark.parametrize(
    "vec_env", [DummyVecEnv, lambda fns: SubprocVecEnv(fns, start_method="fork")], ids=["dummy", "subproc"]
)
def test_in_a_vectorised_environment_feedback_on_the_last_step_speaks_of_the_state_acted_in(vec_env):
    env = vec_env([lambda: FeedbackWrapper(line(), ExpertTeacher(lambda o: o[:, 2].astype(int) % 2))] * 2)
    env.reset()
    labels = []
    for _ in range(3):
        _, _, dones, infos = env.step(np.array([1, 0]))
        labels.append([int(info["feedback"].expert_action) for info in infos])
    assert dones.tolist() == [True, False]
    assert "terminal_observation" in infos[0]
    assert labels == [[0, 0], [1, 1], [0, 0]]
    env.close()


def test_a_silent_teacher_leaves_no_feedback():
    env = FeedbackWrapper(line(), lambda t: None)
    env.reset(seed=0)
    assert "feedback" not in env.step(0)[4]


def test_an_environment_that_reuses_its_info_does_not_repeat_old_feedback():
    env = FeedbackWrapper(
        line(shared_info=True, disable_env_checker=True), lambda t: Feedback(score=1) if t.step == 0 else None
    )
    env.reset(seed=0)
    assert env.step(0)[4]["feedback"] == Feedback(score=1)
    assert "feedback" not in env.step(0)[4]


def test_an_environment_that_reuses_its_info_does_not_repeat_old_errors():
    def fails_once(t):
        if t.step == 0:
            raise RuntimeError("tired")
        return Feedback(score=1)

    env = FeedbackWrapper(line(shared_info=True, disable_env_checker=True), fails_once)
    env.reset(seed=0)
    assert "tired" in env.step(0)[4]["feedback_error"]
    assert "feedback_error" not in env.step(0)[4]


@pytest.mark.parametrize("dict_observation", [False, True])
def test_an_environment_that_changes_its_observation_in_place_does_not_fool_the_teacher(dict_observation):
    def says(t):
        count = t.observation["count"] if dict_observation else t.observation[1:]
        after = t.next_observation["count"] if dict_observation else t.next_observation[1:]
        return f"{count.tolist()} to {after.tolist()}"

    env = FeedbackWrapper(line(in_place=True, disable_env_checker=True, dict_observation=dict_observation), TextTeacher(says))
    env.reset(seed=0)
    said = [env.step(action)[4]["feedback"].text for action in (1, 0, 1)]
    assert said == ["[0.0, 0.0] to [1.0, 1.0]", "[1.0, 1.0] to [1.0, 2.0]", "[1.0, 2.0] to [2.0, 3.0]"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("dict_observation", [False, True])
def test_every_kind_of_space_gets_labels_of_the_action_s_shape(action, dict_observation):
    env = line(action=action, dict_observation=dict_observation)
    wrapped = FeedbackWrapper(env, ExpertTeacher(lambda o: np.ones((1, *env.action_space.shape), env.action_space.dtype)))
    wrapped.reset(seed=0)
    label = wrapped.step(still(env))[4]["feedback"].expert_action
    assert label.shape == env.action_space.shape
    assert env.action_space.contains(label)


# --- what a teacher gets wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (ScoreTeacher(lambda t: float("nan")), "score: got nan"),
        (TextTeacher(lambda t: 3), "text: got 3"),
        (lambda t: 0.5, "got float, expected Feedback"),
        (lambda t: 1 / 0, "ZeroDivisionError"),
        ([ScoreTeacher(lambda t: 1), ScoreTeacher(lambda t: 2)], "Two teachers filled score"),
    ],
)
def test_a_teacher_s_failure_is_text_in_the_info_and_names_the_step(teacher, message):
    env = FeedbackWrapper(line(), teacher)
    env.reset(seed=0)
    for step in range(2):
        info = env.step(0)[4]
        assert message in info["feedback_error"]
        assert f"episode step {step}" in info["feedback_error"]
        assert "feedback" not in info


def test_a_foreign_exception_keeps_its_traceback():
    def broken_teacher(t):
        raise KeyError("grade")

    env = FeedbackWrapper(line(), broken_teacher)
    env.reset(seed=0)
    error = env.step(0)[4]["feedback_error"]
    assert "raised KeyError: 'grade'" in error
    assert "in broken_teacher" in error


@pytest.mark.parametrize(
    "outer", [lambda env: env, gym.wrappers.RecordEpisodeStatistics], ids=["directly", "with a wrapper between"]
)
def test_a_second_feedback_wrapper_is_refused(outer):
    env = outer(FeedbackWrapper(line(), lambda t: None))
    with pytest.raises(FeedbackError, match=r"has a FeedbackWrapper already.*a list of teachers"):
        FeedbackWrapper(env, lambda t: None)


@pytest.mark.parametrize("teachers", [None, 1, [None], CallableExpert(lambda o: o)])
def test_what_can_t_be_asked_is_refused_at_once(teachers):
    with pytest.raises(FeedbackError, match=r"teacher: got .*expected a function from a Transition"):
        FeedbackWrapper(line(), teachers)


def test_several_teachers_fill_one_record():
    env = FeedbackWrapper(line(), [ScoreTeacher(lambda t: t.step), TextTeacher(lambda t: "go"), ExpertTeacher(lambda o: [1])])
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[4]["feedback"] == Feedback(1.0, "go", 1, label="mode")


# --- the score as reward ----------------------------------------------------------------------------


def score_on_odd_steps(t):
    return Feedback(score=0.5) if t.step % 2 else None


@pytest.mark.parametrize(
    ("score_as_reward", "expected"),
    [
        (None, [10, 20, 30, 40]),
        ("replace", [0, 0.5, 0, 0.5]),
        (4.0, [10, 22, 30, 42]),
        (-2, [10, 19, 30, 39]),
        (0, [10, 20, 30, 40]),
    ],
)
def test_the_score_changes_the_reward_as_asked_and_the_task_s_own_stays_in_the_info(score_as_reward, expected):
    env = FeedbackWrapper(line(), score_on_odd_steps, score_as_reward=score_as_reward)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(4)]
    assert [reward for _, reward, *_ in steps] == expected
    if score_as_reward is None:
        assert not any("task_reward" in info for *_, info in steps)
    else:
        assert [info["task_reward"] for *_, info in steps] == [10, 20, 30, 40]


@pytest.mark.parametrize("score_as_reward", ["replace", 2.0])
def test_where_the_teacher_fails_the_reward_carries_no_score(score_as_reward):
    env = FeedbackWrapper(line(), ScoreTeacher(lambda t: float("nan")), score_as_reward=score_as_reward)
    env.reset(seed=0)
    assert env.step(0)[1] == (0.0 if score_as_reward == "replace" else 10.0)


def test_the_teacher_sees_the_task_s_reward_not_the_score():
    env = FeedbackWrapper(line(), ScoreTeacher(lambda t: t.reward / 10), score_as_reward="replace")
    env.reset(seed=0)
    assert [env.step(0)[1] for _ in range(3)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("value", ["add", True, np.nan, np.inf, [1], "1"])
def test_other_values_of_score_as_reward_are_refused(value):
    with pytest.raises(FeedbackError, match=r"score_as_reward: got .*expected None, 'replace' or a finite weight"):
        FeedbackWrapper(line(), lambda t: None, score_as_reward=value)


@pytest.mark.parametrize("weight", [np.float32(2.0), np.int64(2)])
def test_a_numpy_number_is_a_weight_too(weight):
    env = FeedbackWrapper(line(), ScoreTeacher(lambda t: 1.0), score_as_reward=weight)
    env.reset(seed=0)
    assert env.step(0)[1] == 12.0


# --- reproducible, and out of the environment's way ---------------------------------------------------


def teachers_that_draw():
    rng = np.random.default_rng(0)
    expert = PolicyExpert(A2C("MlpPolicy", line(), seed=0))
    return [ExpertTeacher(expert, probability=0.7), ScoreTeacher(lambda t: rng.normal())]


def test_reset_with_a_seed_makes_labels_reproducible():
    env = FeedbackWrapper(line(), ExpertTeacher(PolicyExpert(A2C("MlpPolicy", line(), seed=0)), probability=0.5))

    def labels(seed):
        return [step[-1].get("feedback") for step in play(env, 40, seed)]

    first = labels(3)
    assert labels(3) == first
    assert labels(4) != first
    assert {None} < {None if label is None else int(label.expert_action) for label in first}


def test_labels_go_on_drawing_through_resets_without_a_seed():
    env = FeedbackWrapper(line(), ExpertTeacher(lambda o: [1], probability=0.5))
    env.reset(seed=0)
    episodes = []
    for _ in range(20):
        episodes.append(tuple("feedback" in env.step(0)[4] for _ in range(6)))
        env.reset()
    assert len(set(episodes)) > 5


@pytest.mark.parametrize("dict_observation", [False, True])
def test_observations_and_rewards_are_the_same_with_and_without_the_wrapper(dict_observation):
    kwargs = {"dict_observation": dict_observation}
    teachers = [ExpertTeacher(lambda o: [1], probability=0.5), ScoreTeacher(lambda t: np.random.default_rng().normal())]
    plain, wrapped = play(line(**kwargs), 50), play(FeedbackWrapper(line(**kwargs), teachers), 50)
    for without, with_teacher in zip(plain, wrapped, strict=True):
        assert same(without[0], with_teacher[0])
        assert without[1:-1] == with_teacher[1:-1]


def test_a_teacher_that_draws_leaves_the_global_random_state_alone(untouched_random_state):
    torch_state, numpy_state = th.get_rng_state(), np.random.get_state()
    env = FeedbackWrapper(line(), teachers_that_draw())
    th.set_rng_state(torch_state)
    np.random.set_state(numpy_state)
    play(env, 30)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_pendulum_runs_the_same_with_a_sampling_expert_beside_it(seed):
    expert = LQRExpert.from_env(gym.make(PENDULUM), std=0.1)
    plain = play(gym.make(PENDULUM), 40, seed)
    wrapped = play(FeedbackWrapper(gym.make(PENDULUM), ExpertTeacher(expert)), 40, seed)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(plain, wrapped, strict=True))


def test_the_wrapped_environment_passes_sb3_s_checker():
    check_env(FeedbackWrapper(line(action="box"), ScoreTeacher(lambda t: 1), score_as_reward="replace"), warn=True)


@pytest.mark.parametrize("change", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"])
def test_a_wrapped_environment_can_be_copied_and_pickled(change):
    env = FeedbackWrapper(line(), ExpertTeacher(LQRExpert(np.ones((1, 3)), spaces.Box(-1, 1, (1,), np.float32))))
    env.reset(seed=0)
    other = change(env)
    assert other.step(0)[4]["feedback"] == env.step(0)[4]["feedback"]


def test_the_wrapper_is_remade_from_its_spec_with_the_same_teachers():
    teachers = [ScoreTeacher(lambda t: 7.0)]
    remade = gym.make(FeedbackWrapper(line(), teachers, score_as_reward="replace").spec)
    remade.reset(seed=0)
    _, reward, *_, info = remade.step(0)
    assert reward == 7.0
    assert info["feedback"] == Feedback(score=7.0)


def test_a_learner_says_once_when_a_wrapper_promised_feedback_and_gave_none():
    model = PPO("MlpPolicy", FeedbackWrapper(line(), lambda t: None), n_steps=8, batch_size=8, n_epochs=1, seed=0)
    with pytest.warns(
        UserWarning, match="The first 8 steps carried no feedback, though the environment has a FeedbackWrapper"
    ) as caught:
        model.learn(24)
    assert sum("carried no feedback" in str(warning.message) for warning in caught) == 1


# --- FixedStart ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0, 9])
def test_fixed_start_begins_every_episode_in_the_state_of_its_seed(seed):
    expected, _ = line().reset(seed=5)
    env = FixedStart(line(), 5)
    for _ in range(2):
        observation, _ = env.reset(seed=seed)
        assert np.array_equal(observation, expected)
        env.step(0)


def test_fixed_start_is_remade_by_gym_make_from_its_spec():
    env = FixedStart(gym.make(PENDULUM, max_episode_steps=7), 3)
    remade = gym.make(env.spec)
    assert isinstance(remade, FixedStart)
    assert remade.start_seed == 3
    for seed in (None, 1):
        assert np.array_equal(remade.reset(seed=seed)[0], env.reset()[0])
    assert remade.spec == env.spec
    ended = [remade.step(np.zeros(1, np.float32))[3] for _ in range(7)]
    assert ended == [False] * 6 + [True]
