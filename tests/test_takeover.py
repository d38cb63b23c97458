"""TrajectoryInjection in takeover mode: when the expert acts, what it is asked, and what the infos say."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import CategoricalExpert, ScriptEnv, ToyEnv
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlf_sb3 import FeedbackWrapper, TrajectoryInjection, TwinError
from nlf_sb3.returns import advantages_until_takeover, discounted_returns, returns_until_takeover, takeover_steps
from nlf_sb3.teachers import Expert, ScoreTeacher


class Witness(gym.Wrapper):
    """Remembers every action that the environment executed, episode by episode."""

    def __init__(self, env):
        super().__init__(env)
        self.episodes = []

    def reset(self, **kwargs):
        self.episodes.append([])
        return self.env.reset(**kwargs)

    def step(self, action):
        self.episodes[-1].append(np.array(action))
        return self.env.step(action)


def ones(observations):
    rows = next(iter(observations.values())) if isinstance(observations, dict) else observations
    return np.ones(len(rows), np.int64)


def taken_over(env=None, expert=ones, p=0.3, **kwargs):
    return TrajectoryInjection(ScriptEnv(0, [8]) if env is None else env, expert, p, mode="takeover", **kwargs)


def play(env, n_episodes, seed=0, act=lambda step: 0):
    """Returns each episode's infos."""
    episodes = []
    for episode in range(n_episodes):
        env.reset(seed=seed if episode == 0 else None)
        infos, ended = [], False
        while not ended:
            _, _, terminated, truncated, info = env.step(act(len(infos)))
            infos.append(info)
            ended = terminated or truncated
        episodes.append(infos)
    return episodes


def experts_steps(infos):
    return ["executed_action" in info for info in infos]


# --- who acts when ------------------------------------------------------------------------------------


def test_the_expert_acts_in_the_same_environment_from_the_takeover_to_the_episode_s_end():
    witness = Witness(ScriptEnv(0, [8]))
    episodes = play(taken_over(witness), 200)
    firsts = set()
    for infos, executed in zip(episodes, witness.episodes, strict=True):
        flags = experts_steps(infos)
        first = flags.index(True) if True in flags else len(flags)
        assert flags == [step >= first for step in range(8)]
        assert [int(action) for action in executed] == [0] * first + [1] * (8 - first)
        assert all(info["executed_action"] == 1 for info in infos[first:])
        firsts.add(first)
    assert {0, 1, 2, 8} <= firsts  # at once, later, and too late for the episode


@pytest.mark.parametrize("p", [0.4, 0.7])
def test_the_agent_s_steps_are_geometric_from_0_with_mean_of_one_minus_p_over_p(p):
    n = 4000
    env = taken_over(ScriptEnv(0, [40]), p=p)
    env.reset(seed=0)
    before = []
    for _ in range(n):
        count = 0
        while "executed_action" not in env.step(0)[4]:
            count += 1
        before.append(count)
        env.reset()
    before = np.array(before)
    deviation = np.sqrt(1 - p) / p
    assert abs(before.mean() - (1 - p) / p) < 3 * deviation / np.sqrt(n)
    for steps in range(3):
        share = p * (1 - p) ** steps
        assert abs((before == steps).mean() - share) < 3 * np.sqrt(share * (1 - share) / n)


def test_an_episode_that_ends_before_the_takeover_is_the_agent_s_alone():
    episodes = play(taken_over(ScriptEnv(0, [3]), p=0.2), 500)
    alone = [not any(experts_steps(infos)) for infos in episodes]
    assert abs(np.mean(alone) - 0.8**3) < 3 * np.sqrt(0.8**3 * (1 - 0.8**3) / 500)


def test_a_probability_of_1_leaves_the_agent_no_step():
    assert all(all(experts_steps(infos)) for infos in play(taken_over(p=1.0), 5))


@pytest.mark.parametrize("limit", [1, 3])
def test_max_segment_steps_hands_back_to_the_agent(limit):
    witness = Witness(ScriptEnv(0, [8]))
    for infos, executed in zip(play(taken_over(witness, max_segment_steps=limit), 40), witness.episodes[:40], strict=True):
        flags = experts_steps(infos)
        first = flags.index(True) if True in flags else 8
        assert flags == [first <= step < first + limit for step in range(8)]
        assert [int(action) for action in executed] == [int(flag) for flag in flags]


def test_the_expert_is_asked_about_what_was_observed_last():
    asked = []

    def remember(observations):
        asked.extend(observations[:, 1:].tolist())
        return ones(observations)

    episodes = play(taken_over(expert=remember), 20)
    expected = [[n, step] for n, infos in enumerate(episodes) for step, flag in enumerate(experts_steps(infos)) if flag]
    assert asked == expected


# --- what the infos and other wrappers see ------------------------------------------------------------


def test_the_expert_s_own_log_probability_goes_beside_its_action():
    expert = CategoricalExpert()
    expert.log_prob = lambda observations, actions: np.array([-0.25])
    infos = play(taken_over(ToyEnv("discrete"), expert), 5)
    executed = [info for episode in infos for info in episode if "executed_action" in info]
    assert executed
    assert all(info["executed_log_prob"] == -0.25 for info in executed)


def test_an_expert_without_a_distribution_leaves_its_log_probability_out():
    assert not any("executed_log_prob" in info for episode in play(taken_over(), 5) for info in episode)


@pytest.mark.parametrize("action", ["box", "discrete", "multi_discrete", "multi_binary"])
@pytest.mark.parametrize("dict_observation", [False, True])
def test_executed_actions_have_the_space_s_shape_and_dtype(action, dict_observation):
    inner = gym.make("Line-v0", action=action, dict_observation=dict_observation)
    space = inner.action_space

    def expert(observations):
        n = len(next(iter(observations.values())) if isinstance(observations, dict) else observations)
        return np.stack([np.ones(space.shape, np.float64 if isinstance(space, spaces.Box) else np.int64)] * n)

    env = taken_over(inner, expert, p=0.5)
    env.action_space.seed(0)
    executed = [
        info["executed_action"]
        for infos in play(env, 10, act=lambda step: env.action_space.sample())
        for info in infos
        if "executed_action" in info
    ]
    assert executed
    assert all(action.dtype == space.dtype and action.shape == space.shape for action in executed)
    assert all(space.contains(action) for action in executed)


def test_a_teacher_around_a_takeover_sees_what_was_executed():
    seen = []
    env = FeedbackWrapper(taken_over(), ScoreTeacher(lambda step: seen.append(int(step.action)) or 0.0))
    flags = [flag for infos in play(env, 20) for flag in experts_steps(infos)]
    assert seen == [int(flag) for flag in flags]


class MaskedWalk(ScriptEnv):
    """Allows one choice at a time: that of the step's parity."""

    def action_masks(self):
        return np.arange(2) == self.step_count % 2


class WithinMasks(Expert):
    def act(self, observations):
        raise AssertionError("an environment with masks asks for an action within them")

    def act_within(self, observations, action_masks):
        assert action_masks.shape == (1, 2)
        return action_masks.argmax(axis=1)


def test_an_expert_in_an_environment_with_masks_gets_them():
    for infos in play(taken_over(MaskedWalk(0, [8]), WithinMasks()), 10):
        for step, info in enumerate(infos):
            assert info.get("executed_action", step % 2) == step % 2


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (lambda observations: 1 / 0, "ZeroDivisionError"),
        (lambda observations: np.full(1, 7), "7"),
        (lambda observations: np.zeros((1, 2), np.int64), r"shape"),
    ],
)
def test_where_the_expert_fails_the_agent_acts_and_the_info_says_why(expert, message):
    witness = Witness(ScriptEnv(0, [8]))
    (infos,) = play(taken_over(witness, expert, p=1.0), 1)
    assert not any(experts_steps(infos))
    assert [int(action) for action in witness.episodes[0]] == [0] * 8
    for step, info in enumerate(infos):
        assert f"expert that took over, episode step {step}" in info["feedback_error"]
        assert message in info["feedback_error"]


def test_an_environment_that_reuses_its_info_does_not_repeat_an_old_takeover():
    env = taken_over(gym.make("Line-v0", shared_info=True), lambda o: np.zeros(len(o), np.int64), max_segment_steps=1)
    for infos in play(env, 20):
        assert sum(experts_steps(infos)) <= 1


# --- worlds that can't be branched --------------------------------------------------------------------


def test_an_environment_that_can_t_be_branched_can_be_taken_over():
    for make in (lambda: gym.make("LineNondeterministic-v0"), lambda: ScriptEnv(0, [4])):
        with pytest.raises(TwinError):
            TrajectoryInjection(make(), ones, 0.5)
        env = taken_over(make(), p=0.5)
        assert env.twin is None
        assert any(any(experts_steps(infos)) for infos in play(env, 10))
        env.close()


def test_a_twin_for_a_takeover_is_refused():
    with pytest.raises(ValueError, match=r"twin: a takeover happens in the environment itself.*mode='fork'"):
        taken_over(twin=lambda: ScriptEnv(0, [8]))


def test_a_takeover_is_remade_from_its_spec():
    env = taken_over(gym.make("Line-v0"), p=0.25, max_segment_steps=2)
    again = gym.make(env.spec)
    assert isinstance(again, TrajectoryInjection)
    assert again.injection_mode == "takeover"
    assert again.fork_probability == 0.25
    assert [experts_steps(infos) for infos in play(again, 10)] == [experts_steps(infos) for infos in play(env, 10)]


# --- random numbers -----------------------------------------------------------------------------------


def test_the_same_seed_takes_over_at_the_same_steps_and_another_at_others():
    runs = [[experts_steps(infos) for infos in play(taken_over(), 30, seed=seed)] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_the_environment_s_own_random_numbers_are_those_without_the_wrapper(untouched_random_state):
    def rewards(env):
        values = []
        for episode in range(10):
            env.reset(seed=5 if episode == 0 else None)
            ended = False
            while not ended:
                _, reward, terminated, truncated, _ = env.step(1)  # as the expert does
                values.append(reward)
                ended = terminated or truncated
        return values

    assert rewards(taken_over(ToyEnv("discrete"))) == rewards(ToyEnv("discrete"))


# --- returns and advantages, against slow twins --------------------------------------------------------

FLAGS = st.lists(st.booleans(), min_size=1, max_size=15)


def is_handed_over(executed, step):
    return step + 1 < len(executed) and not executed[step] and bool(executed[step + 1])


@given(hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 3))))
def test_a_takeover_step_is_the_agent_s_last_before_somebody_else_s(executed):
    steps = takeover_steps(executed)
    for env in range(executed.shape[1]):
        column = executed[:, env]
        assert steps[:, env].tolist() == [is_handed_over(column, step) for step in range(len(column))]
        assert takeover_steps(column).tolist() == steps[:, env].tolist()


@given(flags=FLAGS, gamma=st.floats(0, 1), seed=st.integers(0, 100))
def test_returns_end_at_the_takeover_with_the_value_of_the_state_there(flags, gamma, seed):
    rng = np.random.default_rng(seed)
    executed = np.array(flags)
    rewards, values = rng.normal(size=(2, len(flags)))
    expected = []
    for first in range(len(flags)):
        total, factor, step = 0.0, 1.0, first
        while True:
            total += factor * rewards[step]
            factor *= gamma
            if is_handed_over(executed, step):
                total += factor * values[step + 1]
                break
            step += 1
            if step == len(flags):
                break
        expected.append(total)
    assert returns_until_takeover(rewards, executed, values, gamma) == pytest.approx(expected, abs=1e-9)
    if not executed.any() or executed.all():
        assert returns_until_takeover(rewards, executed, values, gamma) == pytest.approx(discounted_returns(rewards, gamma))


@given(
    n_steps=st.integers(1, 10),
    n_envs=st.integers(1, 3),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_advantages_end_at_the_takeover(n_steps, n_envs, gamma, lam, seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, n_steps, n_envs))
    last_values = rng.normal(size=n_envs)
    executed, starts = rng.random((2, n_steps, n_envs)) < 0.4
    last_dones = rng.random(n_envs) < 0.4

    def advantage(step, env, cut):
        total, factor = 0.0, 1.0
        for t in range(step, n_steps):
            last = t == n_steps - 1
            ends = last_dones[env] if last else starts[t + 1, env]
            following = last_values[env] if last else values[t + 1, env]
            total += factor * (rewards[t, env] + gamma * following * (not ends) - values[t, env])
            factor *= gamma * lam
            if ends or (cut and is_handed_over(executed[:, env], t)):
                break
        return total

    plain, expected = (
        np.array([[advantage(step, env, cut) for env in range(n_envs)] for step in range(n_steps)]) for cut in (False, True)
    )
    result = advantages_until_takeover(plain, executed, starts.astype(np.float32), gamma * lam)
    assert result == pytest.approx(expected, abs=1e-9)
    assert result.dtype == plain.dtype
