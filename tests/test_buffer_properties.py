"""Properties of the rollout buffers: minibatches, late labels, and the actions that somebody else executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer

from nlf_sb3 import Feedback
from nlf_sb3.buffers import EpisodeBuffer, keep_feedback
from nlf_sb3.buffers.labels import NO_LABEL, SAMPLE

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (2,), np.float32)
ACTIONS = spaces.Box(-1, 1, (1,), np.float32)
DICTS = spaces.Dict({"a": OBSERVATIONS})
KINDS = st.sampled_from(["plain", "dict", "masked"])


def make(kind, n_steps, n_envs):
    if kind == "dict":
        return keep_feedback(DictRolloutBuffer(n_steps, DICTS, ACTIONS, device="cpu", n_envs=n_envs))
    if kind == "masked":
        return keep_feedback(MaskableRolloutBuffer(n_steps, OBSERVATIONS, spaces.Discrete(2), device="cpu", n_envs=n_envs))
    return keep_feedback(RolloutBuffer(n_steps, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs))


def add(buffer, step, action=None):
    """A row whose observation is (step, env)."""
    n = buffer.n_envs
    rows = np.array([[step, env] for env in range(n)], np.float32)
    observation = {"a": rows} if isinstance(buffer.observation_space, spaces.Dict) else rows
    action = np.zeros((n, 1), np.float32) if action is None else action
    masks = {"action_masks": np.ones((n, 2))} if isinstance(buffer, MaskableRolloutBuffer) else {}
    buffer.add(observation, action, np.ones(n), np.zeros(n), th.zeros(n), th.zeros(n), **masks)


def seen(data):
    """The (step, env) of a minibatch's rows."""
    rows = data.observations["a"] if isinstance(data.observations, dict) else data.observations
    return [tuple(row) for row in rows.int().tolist()]


@given(
    kind=KINDS,
    n_steps=st.integers(1, 9),
    n_envs=st.integers(1, 3),
    batch_size=st.none() | st.integers(1, 12),
    joins=st.booleans(),
    seed=st.integers(0, 1000),
    share_left_out=st.none() | st.sampled_from([0.0, 0.3, 1.0]),
)
def test_minibatches_hold_every_row_once_but_those_left_out(kind, n_steps, n_envs, batch_size, joins, seed, share_left_out):
    buffer = make(kind, n_steps, n_envs)
    for step in range(n_steps):
        add(buffer, step)
    buffer.joins_single_row = joins
    left_out = np.zeros(n_steps * n_envs, dtype=bool)
    if share_left_out is not None:
        left_out = np.random.default_rng(seed).random(n_steps * n_envs) < share_left_out
        buffer.left_out = left_out
    sizes, rows = [], []
    np.random.seed(seed)
    for data in buffer.get(batch_size):
        batch = buffer.take_last_batch().rows
        assert seen(data) == [(row % n_steps, row // n_steps) for row in batch]
        sizes.append(len(batch))
        rows += batch.tolist()
    assert sorted(rows) == np.flatnonzero(~left_out).tolist()
    limit = (batch_size or n_steps * n_envs) + joins
    assert all(0 < size <= limit for size in sizes)
    if joins and batch_size != 1 and len(sizes) > 1:
        assert sizes[-1] > 1
    # Which rows go together is decided by NumPy's global generator, as in Stable-Baselines3.
    np.random.seed(seed)
    order = np.random.permutation(n_steps * n_envs)
    assert rows == order[~left_out[order]].tolist()


@given(
    n_envs=st.integers(1, 3),
    steps=st.lists(st.lists(st.none() | st.integers(0, 8), min_size=3, max_size=3), min_size=1, max_size=20),
    n_steps=st.integers(1, 6),
)
def test_a_late_label_reaches_its_row_exactly_if_the_rollout_still_holds_it(n_envs, steps, n_steps):
    buffer = make("plain", n_steps, n_envs)
    expected = {}
    for clock, agos in enumerate(steps):
        position = clock % n_steps
        if position == 0:
            buffer.reset()
            expected = {}
        for env, ago in enumerate(agos[:n_envs]):
            if ago is None:
                continue
            action = np.array([clock / 100], np.float32)
            written = buffer.add_label(env, Feedback(expert_action=action, steps_ago=ago), action)
            assert written == (ago <= position)
            if written:
                expected[position - ago, env] = action
        add(buffer, clock)
        for row in range(n_steps):
            for env in range(n_envs):
                label = expected.get((row, env))
                assert buffer.label_kinds[row, env] == (NO_LABEL if label is None else SAMPLE)
                if label is not None:
                    assert buffer.label_actions[row, env] == label


@given(
    kind=KINDS,
    flags=hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 3))),
    seed=st.integers(0, 1000),
    knows=st.booleans(),
)
def test_rows_hold_what_was_executed_where_somebody_else_acted(kind, flags, seed, knows):
    n_steps, n_envs = flags.shape
    buffer = make(kind, n_steps, n_envs)
    rng = np.random.default_rng(seed)
    proposed, executed = rng.integers(2, size=(2, n_steps, n_envs, 1)).astype(np.float32)
    for _ in range(2):  # a rollout after a reset keeps nothing of the one before it
        for step in range(n_steps):
            for env in np.flatnonzero(flags[step]):
                buffer.add_executed(int(env), executed[step, env], -0.5 if knows else None)
            given_action = proposed[step].copy()
            add(buffer, step, given_action)
            assert np.array_equal(given_action, proposed[step])  # the learner's own array stays as it is
        assert np.array_equal(buffer.executed, flags)
        assert np.array_equal(buffer.actions, np.where(flags[..., None], executed, proposed))
        known = flags & knows
        assert np.array_equal(np.isnan(buffer.expert_log_probs), ~known)
        assert (buffer.expert_log_probs[known] == -0.5).all()
        buffer.reset()
        assert not buffer.executed.any()
        assert np.isnan(buffer.expert_log_probs).all()
        flags = ~flags


@given(
    n_envs=st.integers(1, 3),
    script=st.lists(
        st.tuples(
            st.lists(st.booleans(), min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3), st.booleans()
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_episodes_under_way_keep_who_acted_in_them(n_envs, script):
    buffer = EpisodeBuffer(2, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs)
    under_way = [[] for _ in range(n_envs)]
    ended = []
    for clock, (flags, dones, updates) in enumerate([*script, ([False] * 3, [True] * 3, True)]):
        for env in range(n_envs):
            if flags[env]:
                buffer.add_executed(env, np.array([0.5 + clock], np.float32), -float(clock))
            under_way[env].append((clock, flags[env]))
        add(buffer, clock)
        for env in range(n_envs):
            if dones[env]:
                buffer.end_episode(env)
                ended.append((env, under_way[env]))
                under_way[env] = []
        if not updates:
            continue
        assert len(buffer.episodes) == len(ended)
        for rows, (env, steps) in zip(buffer.episodes, ended, strict=True):
            assert [tuple(row) for row in buffer.take_rows(buffer.observations, rows)] == [(step, env) for step, _ in steps]
            assert buffer.take_rows(buffer.executed, rows).tolist() == [flag for _, flag in steps]
            expected = [0.5 + step if flag else 0.0 for step, flag in steps]
            assert buffer.take_rows(buffer.actions, rows).flatten().tolist() == expected
            log_probs = buffer.take_rows(buffer.expert_log_probs, rows)
            assert log_probs == pytest.approx([-float(step) if flag else np.nan for step, flag in steps], nan_ok=True)
        ended = []
        buffer.reset()
