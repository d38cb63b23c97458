"""TrajectoryInjection: what it forks, what it records, and which environments it can twin."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from gymnasium import spaces
from helpers import PENDULUM

from nlf_sb3 import FeedbackWrapper, TrajectoryInjection, TwinError
from nlf_sb3.returns import discounted_returns
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.teachers import CallableExpert, LQRExpert, PolicyExpert
from nlf_sb3.wrappers import FixedStart
from nlf_sb3.wrappers.twins import make_twin, same_observation


def line(**kwargs):
    return gym.make("Line-v0", **kwargs)


def forward(observations):
    """Always moves, so that an episode of LineEnv ends after three of its steps."""
    rows = observations["noise"] if isinstance(observations, dict) else observations
    return np.ones(len(rows), np.int64)


def backward(observations):
    return np.zeros(len(observations), np.int64)


def play_episode(env, act, seed=None):
    """Returns what the agent saw and did, and the last info."""
    observation, _ = env.reset(seed=seed)
    observations, actions, ended = [copy.deepcopy(observation)], [], False
    while not ended:
        actions.append(act(len(actions)))
        observation, _, terminated, truncated, info = env.step(actions[-1])
        assert terminated or truncated or "expert_segment" not in info
        observations.append(copy.deepcopy(observation))
        ended = terminated or truncated
    return observations, actions, info


def segments_of(env, n_episodes, act=lambda step: 0, seed=0):
    infos = [play_episode(env, act, seed if episode == 0 else None)[2] for episode in range(n_episodes)]
    assert not any("feedback_error" in info for info in infos)
    return [info.get("expert_segment") for info in infos]


class LongEnv(gym.Env):
    """30 steps, whatever happens; a twin that is moved by the expert ends at once."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 0.0, action == 1 or self.steps == 30, False, {}


gym.register("Long-v0", entry_point=LongEnv)


# --- the fork -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.4, 0.7])
def test_the_shared_steps_are_geometric_from_0_with_mean_of_one_minus_p_over_p(probability):
    n = 10_000
    env = TrajectoryInjection(LongEnv(), forward, probability, twin=LongEnv)
    env.reset(seed=0)
    forks = []
    for _ in range(n):
        ended = False
        while not ended:
            _, _, ended, _, info = env.step(0)
        forks.append(info["expert_segment"].fork_step)
        env.reset()
    forks = np.array(forks)
    deviation = np.sqrt(1 - probability) / probability
    assert abs(forks.mean() - (1 - probability) / probability) < 3 * deviation / np.sqrt(n)
    assert abs((forks == 0).mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / n)
    assert abs((forks == 1).mean() - probability * (1 - probability)) < 4 * np.sqrt(probability / n)


def test_a_fork_probability_of_1_gives_the_expert_every_step():
    segments = segments_of(TrajectoryInjection(line(), forward, 1.0), 10)
    assert [segment.fork_step for segment in segments] == [0] * 10
    assert all(len(segment) == 3 for segment in segments)


def test_an_agent_that_ends_before_its_fork_makes_no_segment():
    segments = segments_of(TrajectoryInjection(line(), forward, 0.2), 400, act=lambda step: 1)
    forks = [segment.fork_step for segment in segments if segment is not None]
    assert set(forks) == {0, 1, 2}
    # The agent's episodes are 3 steps long: with p = 0.2 the fork comes too late in half of them.
    assert abs(segments.count(None) / 400 - 0.8**3) < 4 * np.sqrt(0.25 / 400)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, np.nan])
def test_a_fork_probability_outside_0_to_1_is_refused(probability):
    with pytest.raises(ValueError, match=r"fork_probability: got .*expected a number in \(0, 1\]"):
        TrajectoryInjection(line(), forward, probability)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mode": "branch"}, "mode: got 'branch', expected"),
        ({"max_segment_steps": 0}, "max_segment_steps: got 0, expected at least 1, or None"),
        ({"max_segment_steps": -3}, "max_segment_steps: got -3, expected at least 1, or None"),
    ],
)
def test_other_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryInjection(line(), forward, **kwargs)


# --- the segment --------------------------------------------------------------------------------------


def same_rows(rows, single):
    if isinstance(rows, dict):
        return all(same_rows(rows[key], [one[key] for one in single]) for key in rows)
    return np.array_equal(rows, np.stack(single)) if len(single) else len(rows) == 0


def rows_until(rows, stop):
    return {key: value[:stop] for key, value in rows.items()} if isinstance(rows, dict) else rows[:stop]


@pytest.mark.parametrize("kwargs", [{}, {"dict_observation": True}, {"in_place": True, "disable_env_checker": True}], ids=str)
def test_the_prefix_is_what_the_agent_saw_and_did(kwargs):
    env = TrajectoryInjection(line(**kwargs), forward, 0.3)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    forks = set()
    for _ in range(60):
        observations, actions, info = play_episode(env, lambda step: int(rng.random() < 0.2))
        assert "feedback_error" not in info
        if "expert_segment" not in info:
            continue
        segment = info["expert_segment"]
        fork = segment.fork_step
        forks.add(fork)
        assert same_rows(rows_until(segment.observations, fork), observations[:fork])
        # The state at the fork is shared too: there the expert acts instead of the agent.
        assert same_rows(rows_until(segment.observations, fork + 1), observations[: fork + 1])
        assert segment.actions[:fork].tolist() == actions[:fork]
        assert segment.actions[fork:].tolist() == [1] * (len(segment) - fork)
    assert forks >= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("expert", "expected_end"),
    [(forward, lambda fork: (min(fork + 3, 6), fork + 3 <= 6)), (backward, lambda fork: (6, False))],
)
def test_rewards_length_and_end_are_those_of_the_environment(expert, expected_end):
    segments = segments_of(TrajectoryInjection(line(), expert, 0.3), 60)
    forks = set()
    for segment in filter(None, segments):
        length, terminated = expected_end(segment.fork_step)
        forks.add(segment.fork_step)
        assert len(segment) == length
        assert (segment.terminated, segment.truncated) == (terminated, length == 6)
        rewards = [10.0 * (step + 1) + segment.actions[step] for step in range(length)]
        assert segment.rewards.tolist() == rewards
        assert segment.last_observation[1:].tolist() == [segment.actions.sum(), length]
        assert len(segment.observations) == len(segment.actions) == length
    assert forks >= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_max_segment_steps_cuts_the_expert_s_part_and_leaves_both_flags_false(cut):
    for segment in filter(None, segments_of(TrajectoryInjection(line(), backward, 0.3, max_segment_steps=cut), 60)):
        ended = segment.fork_step + cut >= 6
        assert len(segment) == min(segment.fork_step + cut, 6)
        assert (segment.terminated, segment.truncated) == (False, ended)
        assert segment.last_observation[2] == len(segment)


def test_an_expert_that_ends_exactly_at_the_cut_has_ended():
    for segment in filter(None, segments_of(TrajectoryInjection(line(), forward, 0.5, max_segment_steps=3), 30)):
        assert segment.terminated == (segment.fork_step <= 3)


@pytest.mark.parametrize("action", ["box", "discrete", "multi_discrete", "multi_binary"])
@pytest.mark.parametrize("dict_observation", [False, True])
def test_segments_have_the_spaces_shapes_and_dtypes(action, dict_observation):
    env = line(action=action, dict_observation=dict_observation)
    space = env.action_space

    def expert(observations):
        n = len(observations["noise"] if dict_observation else observations)
        return np.ones((n, *space.shape), space.dtype)

    def agent(step):
        return np.zeros(space.shape, space.dtype) if space.shape else np.int64(0)

    for segment in filter(None, segments_of(TrajectoryInjection(env, expert), 20, agent)):
        assert segment.actions.shape == (len(segment), *space.shape)
        assert segment.actions.dtype == space.dtype
        assert all(space.contains(row) for row in segment.actions)
        rows = segment.observations
        for step in range(len(segment)):
            row = {key: value[step] for key, value in rows.items()} if dict_observation else rows[step]
            assert env.observation_space.contains(row)
        assert env.observation_space.contains(segment.last_observation)


def test_a_user_who_changes_an_action_array_after_the_step_does_not_change_the_segment():
    env = TrajectoryInjection(line(action="box"), lambda o: np.ones((len(o), 1), np.float32), 0.2)
    env.reset(seed=0)
    prefixes = []
    for _ in range(20):
        action, ended = np.zeros(1, np.float32), False
        while not ended:
            action[:] = 0.0
            _, _, terminated, truncated, info = env.step(action)
            action[:] = 0.7
            ended = terminated or truncated
        if "expert_segment" in info:
            prefixes.append(info["expert_segment"].actions[: info["expert_segment"].fork_step])
        env.reset()
    assert sum(map(len, prefixes)) > 5
    assert not np.concatenate(prefixes).any()


@pytest.mark.parametrize("action", ["box", "discrete"])
def test_expert_log_probabilities_are_the_expert_s_own(action):
    expert = PolicyExpert(sb3.A2C("MlpPolicy", line(action=action), seed=0))
    env = TrajectoryInjection(line(action=action), expert)
    zero = np.zeros(1, np.float32) if action == "box" else 0
    for segment in filter(None, segments_of(env, 20, lambda step: zero)):
        fork = segment.fork_step
        assert segment.expert_log_probs.shape == (len(segment) - fork,)
        with th.no_grad():
            distribution = expert.policy.get_distribution(th.as_tensor(segment.observations[fork:]))
            expected = distribution.log_prob(th.as_tensor(segment.actions[fork:])).numpy()
        assert segment.expert_log_probs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("expert", [forward, CallableExpert(forward, "sample")])
def test_an_expert_without_a_distribution_leaves_them_out(expert):
    assert segments_of(TrajectoryInjection(line(), expert, 1.0), 1)[0].expert_log_probs is None


def test_a_segment_is_shared_not_copied_when_infos_are():
    segment = segments_of(TrajectoryInjection(line(), forward, 1.0), 1)[0]
    assert copy.deepcopy({"expert_segment": segment})["expert_segment"] is segment


# --- reproducible, and out of the agent's way -----------------------------------------------------------


def summary(segments):
    return [
        None if s is None else (s.fork_step, s.observations.tolist(), s.actions.tolist(), s.rewards.tolist()) for s in segments
    ]


def test_the_same_seed_gives_the_same_segments_and_another_seed_others():
    expert = PolicyExpert(sb3.A2C("MlpPolicy", line(), seed=0))
    env = TrajectoryInjection(line(), expert)
    first = summary(segments_of(env, 15, seed=3))
    assert summary(segments_of(env, 15, seed=3)) == first
    other = TrajectoryInjection(line(), PolicyExpert(sb3.A2C("MlpPolicy", line(), seed=0), seed=99))
    assert summary(segments_of(other, 15, seed=3)) == first
    assert summary(segments_of(env, 15, seed=4)) != first


def test_episodes_of_one_seed_differ_from_each_other():
    env = TrajectoryInjection(line(), forward)
    env.reset(seed=0)
    assert len({env.reset()[0][0] for _ in range(10)}) == 10


class _RecordSeed(gym.Wrapper):
    """Keeps the seeds that the environment is reset with."""

    def __init__(self, env):
        super().__init__(env)
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("make", [line, lambda: gym.make(PENDULUM, max_episode_steps=10)], ids=["line", "pendulum"])
def test_the_agent_s_trajectory_is_the_one_without_the_wrapper(make):
    inner = _RecordSeed(make())
    space = inner.action_space
    expert = CallableExpert(lambda o: np.ones((len(o), *space.shape), space.dtype))
    wrapped, plain = TrajectoryInjection(inner, expert, twin=make), make()
    space.seed(0)
    wrapped.reset(seed=5)
    for _ in range(10):
        actions = [space.sample() for _ in range(10)]
        with_wrapper = play_episode(wrapped, lambda step, actions=actions: actions[step])
        plain.reset(seed=inner.seeds[-1])
        without = play_episode(plain, lambda step, actions=actions: actions[step], seed=inner.seeds[-1])
        assert all(np.array_equal(a, b) for a, b in zip(with_wrapper[0], without[0], strict=True))
    assert len(set(inner.seeds)) == 11


def test_options_reach_the_twin():
    class Options(LongEnv):
        def reset(self, *, seed=None, options=None):
            self.start = (options or {}).get("start", 0.0)
            return np.float32([super().reset(seed=seed)[0][0] + self.start]), {}

    env = TrajectoryInjection(Options(), forward, 1.0, twin=Options)
    env.reset(seed=0, options={"start": 0.5})
    ended = False
    while not ended:
        _, _, ended, _, info = env.step(0)
    assert info["expert_segment"].observations[0].tolist() == [0.5]


def test_injection_leaves_the_global_random_state_alone(untouched_random_state):
    torch_state, numpy_state = th.get_rng_state(), np.random.get_state()
    env = TrajectoryInjection(line(), PolicyExpert(sb3.A2C("MlpPolicy", line()), use_numpy=False))
    th.set_rng_state(torch_state)
    np.random.set_state(numpy_state)
    segments_of(env, 10)


def test_a_teacher_inside_is_asked_about_the_agent_s_steps_alone():
    asked = []
    env = TrajectoryInjection(FeedbackWrapper(line(), lambda t: asked.append(t.step)), forward, 0.5)
    observations, _, info = play_episode(env, lambda step: 0, seed=0)
    assert "expert_segment" in info
    # A person must not be asked about what the expert does in the twin.
    assert len(asked) == len(observations) - 1 == 6


def test_a_teacher_outside_sees_the_agent_s_last_step_and_the_segment_stays():
    env = FeedbackWrapper(TrajectoryInjection(line(), forward, 1.0), lambda t: None)
    assert play_episode(env, lambda step: 0, seed=0)[2]["expert_segment"].fork_step == 0


def test_an_environment_that_reuses_its_info_does_not_repeat_an_old_segment():
    env = TrajectoryInjection(line(shared_info=True, disable_env_checker=True), forward, 1.0)
    assert "expert_segment" in play_episode(env, lambda step: 0, seed=0)[2]
    env.reset()
    assert "expert_segment" not in env.step(0)[4]


def test_the_pendulum_s_twin_follows_the_agent_exactly_and_the_expert_balances_it():
    env = gym.make(PENDULUM, max_episode_steps=60)
    expert = LQRExpert.from_env(env)
    injected = TrajectoryInjection(env, expert, 0.2)
    env.action_space.seed(0)
    segments = segments_of(injected, 15, lambda step: env.action_space.sample())
    made = [segment for segment in segments if segment is not None]
    assert len(made) >= 5
    assert max(segment.fork_step for segment in made) >= 2
    assert any(segment.truncated and segment.rewards.sum() == 60 for segment in made)
    injected.close()


# --- twins --------------------------------------------------------------------------------------------


def make_line_with_time():
    return gym.wrappers.TimeAwareObservation(FixedStart(line(), 4))


def test_a_twin_is_made_from_the_spec_with_its_wrappers():
    env = make_line_with_time()
    twin = make_twin(env)
    assert twin.unwrapped is not env.unwrapped
    assert isinstance(twin, gym.wrappers.TimeAwareObservation)
    assert np.array_equal(twin.reset(seed=8)[0], env.reset(seed=1)[0])


def test_an_environment_that_knows_no_render_mode_can_be_twinned():
    env = gym.make("Long-v0")
    assert make_twin(env).unwrapped is not env.unwrapped


def test_a_twin_opens_no_window():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    assert make_twin(env).unwrapped.render_mode is None


def test_segments_work_through_wrappers_that_change_observations():
    segment = segments_of(TrajectoryInjection(make_line_with_time(), forward, 1.0), 1)[0]
    assert segment.observations.shape == (3, 4)


class _Unrecorded(gym.Wrapper):
    """A wrapper with a constructor argument that nobody wrote down."""

    def __init__(self, env, bonus):
        super().__init__(env)
        self.bonus = bonus


UNTWINNABLE = {
    "no spec": (LongEnv, "has no spec, so it can't be made a second time"),
    "nondeterministic": (
        lambda: gym.make("LineNondeterministic-v0"),
        "LineNondeterministic-v0 is registered as nondeterministic",
    ),
    "unrecorded wrapper": (lambda: _Unrecorded(line(), 3), "can't be made a second time from its spec"),
}


@pytest.mark.parametrize("name", UNTWINNABLE)
def test_an_environment_that_can_t_be_made_again_is_refused_with_the_reason(name):
    make, reason = UNTWINNABLE[name]
    with pytest.raises(TwinError, match=reason) as caught:
        TrajectoryInjection(make(), forward)
    assert ("twin=" in str(caught.value)) != (name == "nondeterministic")


@pytest.mark.parametrize("name", UNTWINNABLE)
def test_a_twin_that_is_given_helps_where_the_spec_does_not(name):
    make, _ = UNTWINNABLE[name]
    assert isinstance(segments_of(TrajectoryInjection(make(), forward, 1.0, twin=make), 1)[0], ExpertSegment)


@pytest.mark.parametrize("how", ["the same", "wrapped", "unwrapped"])
def test_a_twin_that_is_the_environment_itself_is_refused(how):
    env = line()
    twin = {"the same": lambda: env, "wrapped": lambda: FixedStart(env, 0), "unwrapped": lambda: env.unwrapped}[how]
    with pytest.raises(TwinError, match=r"twin= returned the environment itself. Return a new one"):
        TrajectoryInjection(env, forward, twin=twin)


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [({"size": 4}, "observation_space"), ({"action": "box"}, "action_space"), ({"dict_observation": True}, "observ")],
)
def test_a_twin_with_other_spaces_is_refused_with_both_spaces(kwargs, name):
    twin = line(**kwargs)
    with pytest.raises(TwinError, match=f"the twin's {name}.*Make them equal") as caught:
        TrajectoryInjection(line(), forward, twin=lambda: twin)
    differing = "action_space" if "action" in kwargs else "observation_space"
    assert str(getattr(twin, differing)) in str(caught.value)
    assert str(getattr(line(), differing)) in str(caught.value)


def test_a_twin_that_leaves_the_agent_s_trajectory_is_an_error_that_shows_both():
    env = TrajectoryInjection(line(hidden_randomness=True), forward, 1.0)
    observations, _, info = play_episode(env, lambda step: 0, seed=0)
    assert "expert_segment" not in info
    error = info["feedback_error"]
    assert "fork step 0" in error
    assert "the twin left the agent's trajectory: after 0 shared steps the agent observed" in error
    assert str(observations[0]) in error
    assert "deterministic for a given reset seed, or pass twin=" in error


def test_a_twin_that_ends_before_the_fork_is_an_error():
    class Short(LongEnv):
        def step(self, action):
            return *super().step(action)[:2], True, False, {}

    env = TrajectoryInjection(LongEnv(), forward, 0.1, twin=Short)
    env.reset(seed=0)
    errors = [play_episode(env, lambda step: 0)[2].get("feedback_error", "") for _ in range(10)]
    assert any("the twin had ended" in error for error in errors)


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (lambda o: 1 / 0, "ZeroDivisionError"),
        (lambda o: None, "got None, expected 1 action"),
        (lambda o: np.zeros((0,), int), r"got shape (0,), expected (1,)"),
        (lambda o: np.array([7]), "outside Discrete(2)"),
        (lambda o: np.array([0.5]), "got floats"),
    ],
)
def test_an_expert_s_failure_is_text_in_the_info_and_names_the_fork(expert, message):
    env = TrajectoryInjection(line(), expert, 1.0)
    info = play_episode(env, lambda step: 0, seed=0)[2]
    assert message in info["feedback_error"]
    assert "trajectory injection, fork step 0" in info["feedback_error"]
    assert "expert_segment" not in info


def test_closing_closes_the_twin_too():
    closed = []

    class Closing(LongEnv):
        def close(self):
            closed.append(self)

    env = TrajectoryInjection(Closing(), forward, twin=Closing)
    env.close()
    assert len(closed) == len({id(one) for one in closed}) == 2


# --- helpers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-12]), False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.zeros(2), np.zeros(3), False),
        (3, 3, True),
        (3, 4, False),
        ({"a": np.zeros(2)}, {"a": np.zeros(2)}, True),
        ({"a": np.zeros(2)}, {"b": np.zeros(2)}, False),
        ({"a": np.zeros(2)}, {"a": np.ones(2)}, False),
    ],
)
def test_observations_are_the_same_only_number_by_number(first, second, expected):
    assert same_observation(first, second) is expected


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("last_value", [0.0, 2.5])
def test_returns_to_go_are_the_discounted_sums(gamma, last_value):
    rewards = np.random.default_rng(0).normal(size=20)
    discounts = gamma ** np.arange(21)
    padded = np.append(rewards, last_value)
    expected = [(discounts[: 21 - step] * padded[step:]).sum() for step in range(20)]
    assert discounted_returns(rewards, gamma, last_value) == pytest.approx(expected)
