"""Contexts of tokens: rows, joins, order and memory, and the buffers that keep them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_sb3.buffers import keep_feedback
from nlf_sb3.labelling.replay import LabelMemory
from nlf_sb3.language import TokenContexts, TokenEpisodeBuffer, TokenRolloutBuffer
from nlf_sb3.language.contexts import EMPTY, as_padded
from nlf_sb3.observations import append_observation, join_observations
from nlf_sb3.rows import LabelledRows

N_TOKENS, LENGTH = 5, 12


@st.composite
def episodes(draw):
    """Some sequences, each with a first length; they are seen from there to their end."""
    tokens = st.lists(st.integers(0, N_TOKENS - 1), min_size=1, max_size=LENGTH)
    sequences = draw(st.lists(tokens, min_size=1, max_size=4))
    return [(sequence, draw(st.integers(1, len(sequence)))) for sequence in sequences]


def contexts_of(parts):
    return join_observations([TokenContexts.of_sequence(s, np.arange(first, len(s) + 1)) for s, first in parts])


def rows_of(parts):
    return [sequence[:length] for sequence, first in parts for length in range(first, len(sequence) + 1)]


def as_lists(contexts):
    return [tokens.tolist() for tokens in contexts]


@given(episodes(), st.randoms())
def test_rows_are_indexed_joined_and_assigned_as_an_arrays_are(parts, random):
    contexts, rows = contexts_of(parts), rows_of(parts)
    assert as_lists(contexts) == rows
    chosen = [random.randrange(len(rows)) for _ in range(5)]
    assert as_lists(contexts[np.array(chosen)]) == [rows[i] for i in chosen]
    assert as_lists(contexts[1:]) == rows[1:]
    assert contexts[-1].tolist() == rows[-1]
    assert as_lists(join_observations([contexts, contexts[:1]])) == [*rows, rows[0]]
    other = contexts.copy()
    other[np.array([0])] = contexts[-1:]
    assert as_lists(other) == [rows[-1], *rows[1:]]
    assert as_lists(contexts) == rows


@given(episodes())
def test_padding_and_back_keeps_the_tokens(parts):
    padded, lengths = as_padded(contexts_of(parts))
    assert lengths.tolist() == [len(row) for row in rows_of(parts)]
    assert as_lists(TokenContexts.from_padded(padded)) == rows_of(parts)


@given(episodes())
def test_one_padded_row_for_each_sequence_holds_every_context(parts):
    contexts = contexts_of(parts)
    tokens, index = contexts.padded()
    assert len(tokens) == len(parts)
    for row, place, length in zip(rows_of(parts), index, contexts.lengths, strict=True):
        assert tokens[place, :length].tolist() == row


@given(episodes(), st.integers(0, 5))
def test_order_keeps_sequences_together_and_has_every_row_once(parts, seed):
    contexts = contexts_of(parts)
    order = contexts.order(np.random.default_rng(seed))
    assert sorted(order) == list(range(len(contexts)))
    _, index = contexts.distinct()
    changes = np.count_nonzero(np.diff(index[order]))
    assert changes == len(parts) - 1
    assert all(np.diff(contexts.lengths[order])[np.diff(index[order]) == 0] == 1)


def test_a_last_observation_is_appended_to_its_own_sequence_where_it_belongs_there():
    contexts = TokenContexts.of_sequence([1, 2, 3], [1, 2])
    follows = append_observation(contexts, np.array([1, 2, 3, EMPTY]))
    other = append_observation(contexts, np.array([4, EMPTY, EMPTY, EMPTY]))
    assert as_lists(follows) == [[1], [1, 2], [1, 2, 3]]
    assert as_lists(other) == [[1], [1, 2], [4]]
    assert [len(rows.distinct()[0]) for rows in (follows, other)] == [1, 2]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda contexts: pickle.loads(pickle.dumps(contexts))])
def test_copies_share_sequences_among_themselves(copied):
    contexts = copied(TokenContexts.of_sequence([1, 2, 3], [1, 2, 3]))
    assert as_lists(contexts) == [[1], [1, 2], [1, 2, 3]]
    assert len(contexts.distinct()[0]) == 1


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="expected one and the same"):
        TokenContexts(np.empty(3, dtype=object), np.zeros(2, dtype=int))


# --- buffers ------------------------------------------------------------------------------------------


def filled(buffer_class, lengths, n_envs=2, context_length=64, capacity=None):
    """Every environment plays episodes of these lengths, each from a prompt of 3; reward and value count the rows."""
    space = spaces.Box(EMPTY, 99, (context_length,), np.int64)
    n_steps = sum(lengths)
    buffer = keep_feedback(buffer_class(capacity or n_steps, space, spaces.Discrete(100), device="cpu", n_envs=n_envs))
    row = 0
    for episode, length in enumerate(lengths):
        tokens = np.full((n_envs, context_length), EMPTY)
        tokens[:, :3] = episode
        for step in range(length):
            ones = np.ones(n_envs)
            action = 10 + (step + np.arange(n_envs)) % 10
            buffer.add(tokens, action, row * ones, ones * (step == 0), th.full((n_envs, 1), float(row)), th.zeros(n_envs))
            tokens = tokens.copy()
            tokens[:, 3 + step] = action
            row += 1
        if buffer_class is TokenEpisodeBuffer:
            for env in range(n_envs):
                buffer.end_episode(env)
    if buffer_class is TokenEpisodeBuffer:
        buffer.compute_episode_returns()
    return buffer


@pytest.mark.parametrize("buffer_class", [TokenRolloutBuffer, TokenEpisodeBuffer])
def test_minibatches_hold_whole_episodes_and_their_own_contexts(buffer_class):
    lengths = [3, 1, 5]
    buffer = filled(buffer_class, lengths)
    seen = []
    for data in buffer.get(batch_size=2):
        batch = buffer.take_last_batch()
        assert len(data.observations.distinct()[0]) == 2
        taken = buffer.take_rows(buffer.observations, batch.rows)
        assert as_lists(taken) == as_lists(data.observations)
        for tokens, value in zip(data.observations, data.old_values, strict=True):
            episode = int(np.searchsorted(np.cumsum(lengths), int(value), side="right"))
            assert tokens[:3].tolist() == [episode] * 3
            assert len(tokens) == 3 + int(value) - sum(lengths[:episode])
        seen += batch.rows.tolist()
    assert sorted(seen) == sorted(buffer.row_indices())
    assert len(seen) == 2 * sum(lengths)


@pytest.mark.parametrize("buffer_class", [TokenRolloutBuffer, TokenEpisodeBuffer])
def test_memory_grows_with_the_tokens_and_not_with_their_square(buffer_class):
    def bytes_for_each_row(length):
        return filled(buffer_class, [length], context_length=600).observations.nbytes / (2 * length)

    assert bytes_for_each_row(512) < 1.5 * bytes_for_each_row(32)
    assert bytes_for_each_row(512) < 32


def test_a_rollout_may_begin_within_an_episode():
    buffer = TokenRolloutBuffer(2, spaces.Box(EMPTY, 9, (8,), np.int64), spaces.Discrete(10), device="cpu")
    tokens = np.array([[1, 2, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY]])
    rows = []
    for step in range(4):
        if step == 2:
            buffer.reset()
        buffer.add(tokens, np.array([3]), np.zeros(1), np.array([step == 0]), th.zeros(1, 1), th.zeros(1))
        tokens = tokens.copy()
        tokens[0, 2 + step] = 3
        rows.append(as_lists(buffer.observations[step % 2]))
    assert rows == [[[1, 2]], [[1, 2, 3]], [[1, 2, 3, 3]], [[1, 2, 3, 3, 3]]]
    (data,) = list(buffer.get())
    assert len(data.observations.distinct()[0]) == 1


def test_episodes_under_way_stay_in_a_buffer_that_grew():
    buffer = filled(TokenEpisodeBuffer, [5], n_envs=1, capacity=4)
    tokens = np.full((1, 64), EMPTY)
    tokens[:, :3] = 7
    for step in range(2):
        buffer.add(tokens, np.array([9]), np.zeros(1), np.array([step == 0]), th.zeros(1, 1), th.zeros(1))
        tokens = tokens.copy()
        tokens[:, 3 + step] = 9
    buffer.reset()
    assert buffer.pos == 2
    assert as_lists(buffer.observations[:2, 0]) == [[7, 7, 7], [7, 7, 7, 9]]
    assert as_lists(buffer.observations[2:4, 0]) == [[], []]


@settings(max_examples=25)
@given(st.lists(episodes(), min_size=1, max_size=4), st.integers(1, 20))
def test_the_label_memory_keeps_the_latest_contexts(batches, capacity):
    memory, latest = LabelMemory(capacity), []
    for parts in batches:
        contexts = contexts_of(parts)
        actions = np.arange(len(contexts))
        memory.add(LabelledRows(contexts, actions, np.ones(len(contexts)), np.zeros(len(contexts), dtype=bool)))
        latest = [*latest, *zip(rows_of(parts), actions.tolist(), strict=True)][-capacity:]
    drawn = memory.draw(capacity, np.random.default_rng(0))
    assert sorted(zip(as_lists(drawn.observations), drawn.actions.tolist(), strict=True)) == sorted(latest)
