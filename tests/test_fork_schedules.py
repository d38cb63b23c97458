"""Where the expert's part of an episode lies as training goes on, and an expert that acts first and hands over."""

from __future__ import annotations

import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import Capture, ScriptEnv, ToyEnv, assert_same_model, box_expert, largest_difference, step_by_hand
from learners import ALGORITHMS, is_finite, learner
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import FeedbackError, Injection, LinearSchedule, TrajectoryInjection
from nlf_sb3.returns import advantages_until_takeover, returns_until_takeover

ForkedWorkers = partial(SubprocVecEnv, start_method="fork")
SGD = {"optimizer_class": th.optim.SGD}


class Told(TrajectoryInjection):
    """Remembers what it was told of the progress."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.told = []

    def set_progress(self, progress_remaining):
        super().set_progress(progress_remaining)
        self.told.append(progress_remaining)


class Choosing(ScriptEnv):
    """A script of two choices, all of them allowed."""

    def action_masks(self):
        return np.ones(2, bool)


def ones(observations):
    return np.ones(len(observations), np.int64)


def play(env, n_episodes, seed=None):
    """Whose each step was, episode by episode: True the expert's."""
    episodes = []
    for episode in range(n_episodes):
        env.reset(seed=seed if episode == 0 else None)
        flags, ended = [], False
        while not ended:
            _, _, terminated, truncated, info = env.step(0)
            assert "feedback_error" not in info
            flags.append("executed_action" in info)
            ended = terminated or truncated
        episodes.append(flags)
    return episodes


def taken_over(schedule, length=40, **kwargs):
    return TrajectoryInjection(ScriptEnv(0, [length]), ones, schedule, mode="takeover", **kwargs)


def told_in(env):
    return env.env_method("get_wrapper_attr", "told")


# --- a schedule of the fork ---------------------------------------------------------------------------


def first_steps(env, n, seed=0):
    return np.array([flags.index(True) for flags in play(env, n, seed)])


def test_the_steps_before_the_expert_follow_the_progress():
    n, env = 600, taken_over(LinearSchedule(1.0, 0.2), length=80)
    assert not first_steps(env, 20).any()  # without a learner it stays 1
    env.set_progress(0.5)
    assert abs(first_steps(env, n).mean() - 0.4 / 0.6) < 4 * np.sqrt(0.4) / 0.6 / np.sqrt(n)
    env.set_progress(0.0)
    assert abs(first_steps(env, n).mean() - 4.0) < 4 * np.sqrt(0.8) / 0.2 / np.sqrt(n)


def test_a_schedule_of_one_value_draws_what_the_number_draws():
    assert play(taken_over(lambda progress: 0.3), 40, seed=2) == play(taken_over(0.3), 40, seed=2)


def test_a_fork_follows_too_and_an_episode_under_way_does_not():
    env = TrajectoryInjection(gym.make("Line-v0"), ones, LinearSchedule(0.0, 1.0), twin=lambda: gym.make("Line-v0"))

    def ends(n_steps):
        return [env.step(0)[4] for _ in range(n_steps)][-1]

    env.reset(seed=0)
    env.set_progress(0.0)
    assert "expert_segment" not in ends(6)  # it began where the expert stays away
    env.reset()
    env.set_progress(1.0)
    assert ends(6)["expert_segment"].fork_step == 0
    env.reset()
    assert "expert_segment" not in ends(6)


@pytest.mark.parametrize("schedule", [lambda progress: 1.5, lambda progress: -0.1, lambda progress: progress - 0.5])
def test_a_schedule_that_leaves_0_to_1_is_refused_at_once(schedule):
    with pytest.raises(
        ValueError, match=r"fork_probability: its schedule returned .* at progress .*, expected one in \[0, 1\]"
    ):
        taken_over(schedule)


def test_what_is_told_beyond_the_end_counts_as_the_end():
    env = taken_over(lambda progress: 1.0 if 0.0 <= progress <= 1.0 else 2.0)
    env.set_progress(-0.2)  # the last rollout of SB3 overshoots
    assert all(flags[0] for flags in play(env, 3))


# --- what the algorithm says --------------------------------------------------------------------------


def scheduled(schedules, vec_env=DummyVecEnv):
    def one(index):
        inner = Choosing(index, [5, 9])
        return Monitor(Told(inner, ones, schedules[index], mode="takeover"))

    return vec_env([lambda index=index: one(index) for index in range(len(schedules))])


@pytest.mark.parametrize("vec_env", [DummyVecEnv, ForkedWorkers])
def test_environments_with_a_schedule_are_told_before_each_rollout_and_others_are_not(vec_env):
    env = scheduled([LinearSchedule(0.4, 0.05), 0.3, LinearSchedule(0.1, 0.9)], vec_env)
    learner("A2C", VecNormalize(env), n_steps=8).learn(96)
    told = told_in(env)
    env.close()
    assert told[0] == told[2] == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25])  # first of all before the first reset
    assert told[1] == []


def test_worker_processes_take_over_as_one_process_does():
    models = []
    for vec_env in (DummyVecEnv, ForkedWorkers):
        env = scheduled([LinearSchedule(0.9, 0.0), lambda progress: 1.0 - progress], vec_env)
        models.append(learner("PPO", env).learn(96))
        env.close()
    assert models[0].num_expert_steps == models[1].num_expert_steps > 10
    assert_same_model(*models)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_says_it(algorithm):
    env = scheduled([LinearSchedule(0.4, 0.05)])
    kwargs = {"baseline": True, "n_episodes": 2} if algorithm == "REINFORCE" else {}
    model = learner(algorithm, env, **kwargs).learn(48)
    (told,) = told_in(env)
    n_rows = 14 if algorithm == "REINFORCE" else 12
    assert told == pytest.approx([1.0] + [1.0 - rows / 48 for rows in range(0, 48, n_rows)])
    assert is_finite(model)


def test_a_run_that_goes_on_begins_where_it_stopped(tmp_path):
    env = scheduled([LinearSchedule(0.4, 0.05)])
    model = learner("A2C", env, n_steps=16).learn(32)
    model.save(tmp_path / "model")
    model.learn(32, reset_num_timesteps=False)
    first = [1.0, 1.0, 0.5]
    assert told_in(env)[0] == pytest.approx([*first, 0.5, 0.5, 0.25])
    model.learn(16)
    assert told_in(env)[0][6:] == pytest.approx([1.0, 1.0])
    again = scheduled([LinearSchedule(0.4, 0.05)])
    nlf_sb3.A2C.load(tmp_path / "model", again, device="cpu").learn(32, reset_num_timesteps=False)
    assert told_in(again)[0] == pytest.approx([0.5, 0.5, 0.25])


# --- a guide ------------------------------------------------------------------------------------------


def guided(guide_steps, env=None, expert=ones, cls=TrajectoryInjection, **kwargs):
    return cls(ScriptEnv(0, [8]) if env is None else env, expert, mode="guide", guide_steps=guide_steps, **kwargs)


def hand_overs(env, n, seed=0):
    episodes = play(env, n, seed)
    assert all(flags == sorted(flags, reverse=True) for flags in episodes)  # the expert first, then the agent
    return np.array([sum(flags) for flags in episodes])


def test_the_expert_acts_first_for_a_number_of_steps_that_is_uniform():
    n, steps = 2000, hand_overs(guided(3), 2000)
    for most in range(4):
        assert abs((steps == most).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)
    assert steps.max() == 3


def test_the_agent_s_own_actions_are_executed_after_the_guide_s():
    executed = []

    class Witness(gym.Wrapper):
        def step(self, action):
            executed.append(int(action))
            return self.env.step(action)

    flags = [flag for episode in play(guided(5, Witness(ScriptEnv(0, [8]))), 20, seed=1) for flag in episode]
    assert executed == [int(flag) for flag in flags]
    assert 0 < sum(executed) < len(executed)


@pytest.mark.parametrize(("progress", "most"), [(1.0, 4), (0.5, 2), (0.2, 1), (0.0, 0)])
def test_a_schedule_is_of_the_horizon_s_fraction(progress, most):
    env = guided(LinearSchedule(0.5, 0.0), horizon=8)
    env.set_progress(progress)
    assert set(hand_overs(env, 100)) == set(range(most + 1))


def test_the_horizon_is_the_time_limit_of_the_spec():
    env = guided(LinearSchedule(1.0, 0.5), gym.make("Line-v0"), lambda observations: np.zeros(len(observations), np.int64))
    assert hand_overs(env, 100).max() == 6
    env.set_progress(0.0)
    assert hand_overs(env, 100).max() == 3


def test_a_guide_that_outlasts_the_episode_leaves_the_agent_none():
    assert hand_overs(guided(1000), 200).max() == 8


def test_a_guide_is_remade_from_its_spec_and_seeded():
    env = guided(4, gym.make("Line-v0"))
    again = gym.make(env.spec)
    assert again.injection_mode == "guide"
    assert play(again, 20, seed=3) == play(env, 20, seed=3) != play(env, 20, seed=4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"guide_steps": None}, "guide_steps: got None with mode='guide'. It belongs to mode='guide', which needs it"),
        ({"guide_steps": -1}, "guide_steps: got -1, expected a whole number of at least 0"),
        ({"guide_steps": 2.5}, "guide_steps: got 2.5, expected a whole number"),
        ({"guide_steps": True}, "guide_steps: got True, expected a whole number"),
        ({"guide_steps": lambda progress: 3.0, "horizon": 8}, "guide_steps: its schedule returned 3.0"),
        ({"guide_steps": LinearSchedule(0.5, 0.0)}, "the environment's spec has no time limit. Pass horizon="),
        ({"guide_steps": LinearSchedule(0.5, 0.0), "horizon": 0}, "horizon: got 0, expected a whole number of at least 1"),
        ({"guide_steps": 3, "horizon": 8}, "horizon: it is what a schedule of guide_steps is a fraction of"),
        ({"guide_steps": 3, "max_segment_steps": 2}, "max_segment_steps: with mode='guide', guide_steps says"),
        ({"guide_steps": 3, "twin": lambda: ScriptEnv(0, [8])}, "twin: a guide happens in the environment itself"),
        ({"guide_steps": 3, "mode": "takeover"}, "guide_steps: got 3 with mode='takeover'. It belongs to mode='guide'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("(", r"\(")):
        TrajectoryInjection(ScriptEnv(0, [8]), ones, **{"mode": "guide", **kwargs})


# --- rows of a guide ----------------------------------------------------------------------------------


def test_rows_after_a_guide_have_plain_generalised_advantages():
    # gamma = lambda = 1/2, V = 0, rewards 1, 2, 4, 8; the expert acts first, and another episode's expert follows.
    executed = np.array([[True], [True], [False], [False], [True]])
    starts = np.array([[1.0], [0.0], [0.0], [0.0], [1.0]])
    plain = np.array([[1.0 + (2.0 + (4.0 + 8.0 / 4) / 4) / 4], [2.0 + (4.0 + 8.0 / 4) / 4], [4.0 + 8.0 / 4], [8.0], [3.0]])
    assert plain.flatten().tolist() == [1.875, 3.5, 6.0, 8.0, 3.0]
    assert advantages_until_takeover(plain, executed, starts, 0.25) == pytest.approx(plain)


def test_returns_after_a_guide_go_to_the_end_of_the_episode():
    rewards, values = np.array([1.0, 2.0, 4.0, 8.0]), np.full(4, 100.0)
    executed = np.array([True, True, False, False])
    assert returns_until_takeover(rewards, executed, values, 0.5).tolist() == [4.0, 6.0, 8.0, 8.0]
    # A second stretch of the expert's ends the agent's own part, and the first stretch's with it.
    again = np.array([True, False, True, False])
    assert returns_until_takeover(rewards, again, values, 0.5).tolist() == [1 + 0.5 * (2 + 50), 2 + 50, 8.0, 8.0]


def toys(n_envs=2, vec_env=DummyVecEnv, cls=TrajectoryInjection, **kwargs):
    return vec_env([lambda: guided(4, ToyEnv(bound=0.4), box_expert, cls, **kwargs)] * n_envs)


def test_with_a_coefficient_of_0_an_update_is_that_of_the_agent_s_rows_alone():
    settings = {"injection": Injection(coef=0.0), "n_steps": 32, "learning_rate": 0.1, "max_grad_norm": 0.05}
    model = learner("A2C", toys(), policy_kwargs=SGD, use_rms_prop=False, gae_lambda=0.9, gamma=0.8, **settings)
    capture = Capture()
    model.learn(64, callback=capture)
    (rollout,) = capture.rollouts
    executed = th.as_tensor(model.rollout_buffer.executed.T.flatten())
    assert 10 < executed.sum() < 54
    # Plain GAE over both, from the script of rewards: the critic's values, and no takeover to stop at.
    starts, rewards = model.rollout_buffer.episode_starts, rollout.rewards.reshape(2, 32).numpy()
    values, policy = rollout.values.reshape(2, 32).numpy(), rollout.policy
    last_values = policy.predict_values(th.as_tensor(model._last_obs)).flatten().detach().numpy()
    advantages = np.zeros((2, 32))
    starts = np.asarray(starts).reshape(2, 32) if np.asarray(starts).shape == (64, 1) else np.asarray(starts).T
    for env in range(2):
        following = 0.0
        for t in reversed(range(32)):
            goes_on = 1.0 - (model._last_episode_starts[env] if t == 31 else starts[env, t + 1])
            next_value = last_values[env] if t == 31 else values[env, t + 1]
            following = rewards[env, t] + 0.8 * goes_on * next_value - values[env, t] + 0.72 * goes_on * following
            advantages[env, t] = following
    wanted = th.as_tensor(advantages.flatten(), dtype=th.float32)
    own = ~executed
    log_prob = policy.get_distribution(rollout.observations).log_prob(th.as_tensor(rollout.actions))
    errors = (policy.predict_values(rollout.observations).flatten() - (wanted + rollout.values)) ** 2
    step_by_hand(policy, -(wanted * log_prob)[own].mean() + 0.5 * errors[own].mean(), 0.05)
    assert largest_difference(model.policy, policy) < 1e-6


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "MaskablePPO"])
def test_every_algorithm_learns_behind_a_guide(algorithm):
    kwargs = {"baseline": True} if algorithm == "REINFORCE" else {}
    model = learner(algorithm, toys(), **kwargs).learn(72)
    assert 5 < model.num_expert_steps < model.num_timesteps
    assert 0 < model.logger.name_to_value["injection/takeover_rate"] < 1
    assert is_finite(model)


def test_worker_processes_are_guided_as_one_process_is():
    models = []
    for vec_env in (DummyVecEnv, ForkedWorkers):
        env = toys(vec_env=vec_env)
        models.append(learner("PPO", env).learn(48))
        env.close()
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0
    assert_same_model(*models)


def test_a_guide_s_rows_have_no_update_of_their_own_and_no_copy():
    with pytest.raises(FeedbackError, match=r"injection.separate_step: got True.*With mode='guide'"):
        learner("PPO", toys(), injection="separate").learn(1)
    with pytest.raises(FeedbackError, match=r"injection.count_prefix: got False.*With mode='guide' there is no copy"):
        learner("PPO", toys(), injection=Injection(count_prefix=False)).learn(1)


@pytest.mark.parametrize("settings", [{}, {"baseline": True}, {"normalize_returns": False}])
def test_returns_that_compare_early_steps_with_late_ones_are_warned_of(settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner("REINFORCE", toys(n_envs=1), **settings).learn(1)
    messages = [str(warning.message) for warning in caught if "mode='guide'" in str(warning.message)]
    assert len(messages) == (not settings)


def test_a_schedule_that_goes_by_more_than_progress_is_refused():
    from nlf_sb3.schedules import PerformanceSchedule

    with pytest.raises(
        ValueError, match=r"fork_probability: got PerformanceSchedule\(.*expected a number in \(0, 1\], or a function"
    ):
        TrajectoryInjection(ToyEnv("box"), box_expert, PerformanceSchedule(1.0))
