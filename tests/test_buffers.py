"""Labels beside transitions, buffers of whole episodes, and rows dealt out over minibatches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3 import ExpertSegment, Feedback
from nlf_sb3.buffers import DictEpisodeBuffer, EpisodeBuffer, FeedbackBufferMixin, keep_feedback
from nlf_sb3.buffers.labels import MODE, NO_LABEL, SAMPLE
from nlf_sb3.objectives.policy_rows import MinibatchDealer, PolicyRows
from nlf_sb3.returns import discounted_returns
from nlf_sb3.segments import rows_from, stack_observations

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (2,), np.float32)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def add(buffer, observation, action=None, reward=None, start=None):
    n = buffer.n_envs
    buffer.add(
        observation,
        np.zeros((n, 2), np.float32) if action is None else action,
        np.zeros(n) if reward is None else reward,
        np.zeros(n) if start is None else start,
        th.zeros(n),
        th.zeros(n),
    )


def filled(n_steps=4, n_envs=3):
    """A buffer in which row (step, env) has observation [step, env] and label [step / 10, env / 10]."""
    buffer = keep_feedback(RolloutBuffer(n_steps, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs))
    for step in range(n_steps):
        for env in range(n_envs):
            action = np.array([step, env], np.float32) / 10
            assert buffer.add_label(env, Feedback(expert_action=action, weight=1.0 + step), action)
        add(buffer, np.array([[step, env] for env in range(n_envs)], np.float32))
    return buffer


# --- labels beside transitions ---------------------------------------------------------------------


def test_every_minibatch_knows_the_labels_of_its_own_rows():
    buffer = filled()
    seen = []
    for data in buffer.get(batch_size=5):
        batch = buffer.take_last_batch().rows
        labels = buffer.take_rows(buffer.label_actions, batch)
        assert np.allclose(labels * 10, data.observations.numpy())
        assert np.array_equal(buffer.take_rows(buffer.label_weights, batch), 1 + data.observations[:, 0].numpy())
        seen += batch.tolist()
    assert sorted(seen) == list(range(12)) == buffer.row_indices().tolist()


def test_a_minibatch_can_be_taken_once_only():
    buffer = filled()
    with pytest.raises(RuntimeError, match="no new minibatch"):
        buffer.take_last_batch()
    next(buffer.get(4))
    buffer.take_last_batch()
    with pytest.raises(RuntimeError, match="no new minibatch"):
        buffer.take_last_batch()


def test_minibatches_are_those_of_the_plain_buffer():
    batches = []
    for keep in (True, False):
        buffer = RolloutBuffer(4, OBSERVATIONS, ACTIONS, device="cpu", n_envs=3)
        if keep:
            buffer = keep_feedback(buffer)
        for step in range(4):
            add(buffer, np.array([[step, env] for env in range(3)], np.float32))
        np.random.seed(3)
        batches.append([data.observations for data in buffer.get(5)])
    assert all(th.equal(mine, theirs) for mine, theirs in zip(*batches, strict=True))


def test_a_late_label_reaches_the_row_that_it_speaks_of():
    buffer = keep_feedback(RolloutBuffer(4, OBSERVATIONS, ACTIONS, device="cpu", n_envs=2))
    for _ in range(3):
        add(buffer, np.zeros((2, 2)))
    action = np.array([0.5, 0.25], np.float32)
    assert buffer.add_label(1, Feedback(expert_action=action, steps_ago=2, label="mode", weight=0.5), action)
    assert buffer.label_kinds.tolist() == [[NO_LABEL] * 2, [NO_LABEL, MODE], [NO_LABEL] * 2, [NO_LABEL] * 2]
    assert buffer.label_actions[1, 1].tolist() == [0.5, 0.25]
    assert buffer.label_weights[1, 1] == 0.5
    assert buffer.add_label(0, Feedback(expert_action=action, steps_ago=3), action)
    assert buffer.label_kinds[0, 0] == SAMPLE


def test_a_label_for_a_row_before_the_rollout_is_declined():
    buffer = keep_feedback(RolloutBuffer(4, OBSERVATIONS, ACTIONS, device="cpu"))
    add(buffer, np.zeros((1, 2)))
    action = np.zeros(2, np.float32)
    assert not buffer.add_label(0, Feedback(expert_action=action, steps_ago=2), action)
    assert not buffer.label_kinds.any(), "a negative index would have written to the buffer's end"


def test_reset_forgets_labels_segments_and_raw_observations():
    buffer = filled()
    buffer.keep_episode_actions()
    buffer.add_segment(0, segment(fork_step=0), lambda actions: actions)
    buffer.pos = 0
    buffer.add_raw_observation(np.zeros((3, 2)))
    buffer.reset()
    assert not buffer.label_kinds.any()
    assert buffer.segments == []
    assert buffer.raw_observations is None


def test_feedback_is_kept_in_place_and_twice_is_once():
    buffer = RolloutBuffer(4, OBSERVATIONS, ACTIONS, device="cpu")
    assert keep_feedback(buffer) is buffer
    kind = type(buffer)
    assert isinstance(buffer, FeedbackBufferMixin)
    assert keep_feedback(buffer) is buffer
    assert type(buffer) is kind


def test_raw_dict_observations_are_kept_row_by_row():
    space = spaces.Dict({"a": OBSERVATIONS, "b": spaces.Box(0, 1, (1,), np.float32)})
    buffer = keep_feedback(DictRolloutBuffer(2, space, ACTIONS, device="cpu", n_envs=2))
    for step in range(2):
        raw = {"a": np.full((2, 2), step + 1.0), "b": np.array([[step + 10.0], [step + 20.0]])}
        buffer.add_raw_observation(raw)
        add(buffer, {"a": np.zeros((2, 2)), "b": np.zeros((2, 1))})
    taken = buffer.take_rows(buffer.raw_observations, np.array([1, 2]))  # env 0, step 1; env 1, step 0
    assert taken["a"].tolist() == [[2, 2], [1, 1]]
    assert taken["b"].tolist() == [[11], [20]]


def segment(fork_step, n=4):
    return ExpertSegment(
        np.zeros((n, 2)), np.zeros((n, 2), np.float32), np.ones(n), True, False, np.zeros(2), fork_step=fork_step
    )


@pytest.mark.parametrize("fork_step", [0, 1, 3])
def test_a_segments_prefix_has_the_actions_proposed_since_the_episodes_start(fork_step):
    buffer = keep_feedback(RolloutBuffer(2, OBSERVATIONS, ACTIONS, device="cpu", n_envs=2))
    buffer.keep_episode_actions()
    starts = [[1, 1], [0, 1], [0, 0], [0, 0]]  # environment 1 begins anew at the second step
    for step in range(4):
        if step == 2:
            buffer.reset()  # an episode goes on over a rollout's end
        proposed = np.array([[step, 0], [step, 10]], np.float32)  # far outside the space: not clipped
        if step == 3:
            buffer.add_segment(0, segment(fork_step), np.zeros_like)
            buffer.add_segment(1, segment(min(fork_step, 2)), np.zeros_like)
        add(buffer, np.zeros((2, 2)), action=proposed, start=np.array(starts[step]))
    prefixes = [[row.tolist() for row in prefix] for _, prefix in buffer.segments]
    assert prefixes[0] == [[step, 0] for step in range(fork_step)]
    assert prefixes[1] == [[step, 10] for step in range(1, 1 + min(fork_step, 2))]


def test_a_segment_whose_prefix_is_not_what_the_policy_proposed_is_left_out():
    """Training that stops and goes on in the middle of an episode loses a step of it."""
    buffer = keep_feedback(RolloutBuffer(4, OBSERVATIONS, ACTIONS, device="cpu", n_envs=2))
    assert buffer.add_segment(0, segment(0), np.zeros_like)
    assert not buffer.add_segment(0, segment(1), np.zeros_like)  # nothing is known of the episode
    buffer.keep_episode_actions()
    for _ in range(2):
        add(buffer, np.zeros((2, 2)), action=np.ones((2, 2), np.float32), start=np.zeros(2))
    assert not buffer.add_segment(0, segment(2), lambda actions: actions)  # it acted with ones, not with zeros
    assert not buffer.add_segment(0, segment(3), np.zeros_like)
    assert buffer.add_segment(0, segment(2), np.zeros_like)


# --- segments ---------------------------------------------------------------------------------------


@given(
    rewards=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    gamma=st.floats(0, 1),
    last_value=st.floats(-10, 10),
)
def test_discounted_returns_are_the_sums_of_their_definition(rewards, gamma, last_value):
    returns = discounted_returns(np.array(rewards), gamma, last_value)
    n = len(rewards)
    for t in range(n):
        expected = sum(gamma ** (k - t) * rewards[k] for k in range(t, n)) + gamma ** (n - t) * last_value
        assert returns[t] == pytest.approx(expected, abs=1e-6)


def test_observations_stack_and_split_also_as_dicts():
    stacked = stack_observations([{"a": np.array([i])} for i in range(3)])
    assert rows_from(stacked, 1)["a"].tolist() == [[1], [2]]
    assert rows_from(stack_observations([np.array([i]) for i in range(3)]), 2).tolist() == [[2]]


def test_segments_are_shared_and_not_copied():
    import copy

    original = segment(1)
    assert copy.deepcopy(original) is original
    assert len(pickle.loads(pickle.dumps(original))) == 4


# --- rows dealt out over minibatches ---------------------------------------------------------------


@given(
    n_rows=st.integers(1, 60),
    batches=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_each_epoch_deals_every_row_once_and_each_minibatch_its_fair_share(n_rows, batches, epochs, seed):
    n_rollout = sum(batches)
    share = MinibatchDealer(some_rows(n_rows), n_rollout, np.random.default_rng(seed))
    for _ in range(epochs):
        dealt = [share.next(size).tolist() for size in batches]
        assert sorted(row for rows in dealt for row in rows) == list(range(n_rows))
        for rows, size in zip(dealt, batches, strict=True):
            assert abs(len(rows) - n_rows * size / n_rollout) < 1


def some_rows(n_rows):
    policy = ActorCriticPolicy(spaces.Box(-1, 1, (1,)), spaces.Discrete(2), lambda _: 0.0)
    return PolicyRows(policy, th.zeros(n_rows, 1), th.zeros(n_rows, dtype=th.long))


def test_epochs_shuffle_anew():
    share = MinibatchDealer(some_rows(50), 10, np.random.default_rng(0))
    assert share.next(10).tolist() != share.next(10).tolist()


# --- whole episodes ---------------------------------------------------------------------------------


class EpisodeMachine:
    """Plays random episodes into a buffer, and remembers what each row and its label were."""

    def __init__(self, capacity, n_envs, dict_observations):
        space = spaces.Dict({"a": OBSERVATIONS}) if dict_observations else OBSERVATIONS
        kind = DictEpisodeBuffer if dict_observations else EpisodeBuffer
        self.buffer = kind(capacity, space, ACTIONS, device="cpu", gamma=0.5, n_envs=n_envs)
        self.dict_observations = dict_observations
        self.clock = 0
        self.current = [[] for _ in range(n_envs)]
        self.ended = []

    def observations(self):
        rows = np.array([[env, self.clock] for env in range(self.buffer.n_envs)], np.float32)
        return {"a": rows} if self.dict_observations else rows

    def reward(self, env):
        return 1.0 + env - 0.25 * (self.clock % 7)

    def step(self, dones, label_ago):
        n_envs = self.buffer.n_envs
        for env in range(n_envs):
            self.current[env].append({"clock": self.clock, "reward": self.reward(env), "label": None})
        for env, ago in enumerate(label_ago):
            if ago is None:
                continue
            action = np.array([self.clock, env], np.float32) / 1024
            row = self.row_of(env, self.clock - ago)
            written = self.buffer.add_label(env, Feedback(expert_action=action, steps_ago=ago), action)
            assert written == (row is not None)
            if row is not None:
                row["label"] = action.tolist()
        self.buffer.add_raw_observation(self.observations())
        rewards = np.array([self.reward(env) for env in range(n_envs)])
        add(self.buffer, self.observations(), reward=rewards, start=np.zeros(n_envs))
        for env, done in enumerate(dones):
            if done:
                self.buffer.end_episode(env)
                self.ended.append((env, self.current[env]))
                self.current[env] = []
        self.clock += 1

    def row_of(self, env, clock):
        """The row of a step that is still to be trained on, in the episode under way or in one that has ended."""
        rows = [*self.current[env], *(row for owner, episode in self.ended if owner == env for row in episode)]
        return next((row for row in rows if row["clock"] == clock), None)

    def update(self, batch_size):
        buffer = self.buffer
        assert buffer.n_episodes == len(self.ended)
        if self.ended:
            buffer.compute_episode_returns()
            rows = []
            n_in_batches = []
            for data in buffer.get(batch_size):
                batch = buffer.take_last_batch().rows
                observations = data.observations["a"] if self.dict_observations else data.observations
                raw = buffer.take_rows(buffer.raw_observations, batch)
                raw = raw["a"] if self.dict_observations else raw
                assert np.array_equal(raw, observations.numpy())
                kinds = buffer.take_rows(buffer.label_kinds, batch)
                labels = buffer.take_rows(buffer.label_actions, batch)
                n_in_batches.append(0)
                for i, (env, clock) in enumerate(observations.int().tolist()):
                    label = labels[i].tolist() if kinds[i] == SAMPLE else None
                    rows.append((env, clock, float(data.returns[i]), label))
                    n_in_batches[-1] += any(owner == env and episode[0]["clock"] == clock for owner, episode in self.ended)
            expected = []
            for env, episode in self.ended:
                running = 0.0
                for row in reversed(episode):
                    running = row["reward"] + 0.5 * running
                    expected.append((env, row["clock"], np.float32(running), row["label"]))
            assert sorted(row[:2] for row in rows) == sorted(row[:2] for row in expected)
            by_key = {row[:2]: row[2:] for row in expected}
            for env, clock, value, label in rows:
                assert value == pytest.approx(by_key[env, clock][0], rel=1e-6)
                assert label == by_key[env, clock][1]
            full = batch_size or len(self.ended)
            assert all(count == full for count in n_in_batches[:-1]), "batches are counted in episodes"
            assert sorted(buffer.row_indices().tolist()) == sorted(np.concatenate(buffer.episodes).tolist())
        self.ended = []
        buffer.reset()


@st.composite
def scripts(draw):
    n_envs = draw(st.integers(1, 3))
    label = st.one_of(st.none(), st.integers(0, 6))
    steps = st.tuples(
        st.lists(st.booleans(), min_size=n_envs, max_size=n_envs), st.lists(label, min_size=n_envs, max_size=n_envs)
    )
    update = st.tuples(st.just("update"), st.one_of(st.none(), st.integers(1, 3)))
    return n_envs, draw(st.lists(st.one_of(steps, steps, steps, update), min_size=1, max_size=50))


@settings(max_examples=60, deadline=None)
@given(script=scripts(), capacity=st.integers(1, 6), dict_observations=st.booleans())
def test_every_episode_is_handed_out_once_whole_with_its_own_returns_and_labels(script, capacity, dict_observations):
    n_envs, actions = script
    machine = EpisodeMachine(capacity, n_envs, dict_observations)
    for first, second in actions:
        if first == "update":
            machine.update(second)
        else:
            machine.step(first, second)
    machine.update(None)


def test_the_episode_buffer_does_not_grow_with_the_number_of_updates():
    machine = EpisodeMachine(4, 2, False)
    for i in range(200):
        machine.step([i % 5 == 4, i % 3 == 2], [None, None])
        if machine.buffer.n_episodes >= 3:
            machine.update(None)
    assert machine.buffer.buffer_size <= 16


def test_episodes_come_in_order_when_they_come_all_at_once():
    machine = EpisodeMachine(4, 1, False)
    for done in (False, True, True, False, True):
        machine.step([done], [None])
    machine.buffer.compute_episode_returns()
    (data,) = machine.buffer.get()
    assert data.observations[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert [len(episode) for episode in machine.buffer.episodes] == [2, 1, 2]


def test_incomplete_episodes_cannot_be_drawn():
    machine = EpisodeMachine(4, 1, False)
    machine.step([True], [None])
    with pytest.raises(AssertionError, match="compute_episode_returns"):
        next(machine.buffer.get())


def test_rows_without_values_are_rows_with_zeros_instead():
    def filled(values):
        buffer = EpisodeBuffer(4, spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), device="cpu", n_envs=2)
        rng = np.random.default_rng(0)
        for _ in range(2):  # the second round writes over the first
            for step in range(7):
                rows = rng.normal(size=(2, 3)), rng.normal(size=(2, 2)), rng.normal(size=2), np.full(2, float(step == 0))
                buffer.add(*rows, values, values)
            buffer.end_episode(0)
            buffer.end_episode(1)
            buffer.compute_episode_returns()
            batch = next(buffer.get())
            buffer.values[:] = buffer.log_probs[:] = 5.0  # what an algorithm fills in later
            buffer.reset()
        return batch

    for first, second in zip(filled(None), filled(th.zeros(2)), strict=True):
        assert th.equal(first, second)
