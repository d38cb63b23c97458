"""Rows for a recurrent policy: with the hidden state before each, and evaluated as sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from nlf_sb3.distributions import select_rows
from nlf_sb3.objectives.policy_rows import Evaluation, PolicyRows
from nlf_sb3.observations import index_observations


class RecurrentRows(PolicyRows):
    """
    K rows of episodes that follow one another.

    As in sb3-contrib, a part of an episode is trained from the hidden state that the policy had before it
    when the rollout was collected; gradients go back to the start of that part.

    :param policy: The policy
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param actions: ``[K, action_dim]``, or ``[K]`` of integers for Discrete spaces
    :param starts: Whether a row follows from nothing before it in these rows, ``[K]``
    :param states: Hidden states of actor and critic before each row, each ``[layers, K, hidden size]``
    """

    def __init__(
        self, policy: RecurrentActorCriticPolicy, observations: Any, actions: th.Tensor, starts: np.ndarray, states: RNNStates
    ) -> None:
        super().__init__(policy, observations, actions)
        self._starts = np.asarray(starts, dtype=bool)
        self._states = states

    def subset(self, chosen: np.ndarray) -> RecurrentRows:
        begins = self._starts[chosen] | (np.diff(chosen, prepend=-2) != 1)
        states = _index_states(self._states, chosen)
        return RecurrentRows(self._policy, index_observations(self.observations, chosen), self.actions[chosen], begins, states)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """
        :param rng: Chooses where to begin
        :return: All rows in their own order from some row on, as sb3-contrib's buffers have it, ``[K]``
        """
        return np.roll(np.arange(len(self)), -int(rng.integers(len(self))))

    def evaluate(self, chosen: np.ndarray) -> Evaluation:
        begins = self._starts[chosen] | (np.diff(chosen, prepend=-2) != 1)
        first = np.flatnonzero(begins)
        longest = int(np.diff(np.append(first, len(chosen))).max())
        sequence = np.cumsum(begins) - 1
        positions = sequence * longest + np.arange(len(chosen)) - first[sequence]
        padded = np.full(len(first) * longest, chosen[0])  # the padding is computed, and dropped
        padded[positions] = chosen
        said = self._evaluate(
            index_observations(self.observations, padded),
            self.actions[padded],
            _index_states(self._states, chosen[first]),
            th.zeros(len(padded), device=self._policy.device),  # each sequence begins with its own state
        )
        distribution = select_rows(said.distribution, positions)
        return Evaluation(said.values.flatten()[positions], said.log_prob[positions], distribution)

    def value_after(self, row: int, observations: Any) -> float:
        policy = self._policy
        at_row = np.array([row])
        no_start = th.zeros(1, device=policy.device)
        with th.no_grad():
            states = _index_states(self._states, at_row)
            *_, states = policy(index_observations(self.observations, at_row), states, no_start, deterministic=True)
            return float(policy.predict_values(observations, states.vf, no_start))


def states_before_rows(policy: RecurrentActorCriticPolicy, observations: Any, starts: np.ndarray) -> RNNStates:
    """
    Run a recurrent policy along episodes from their start.

    :param policy: The policy
    :param observations: Rows of whole episodes, one after another, ``[K, *obs_shape]`` or a dict of such
    :param starts: Whether a row is its episode's first, ``[K]``; the first row is
    :return: Hidden states of actor and critic before each row, each ``[layers, K, hidden size]``
    """
    first = np.flatnonzero(starts)
    lengths = np.diff(np.append(first, len(starts)))
    layers, _, hidden_size = policy.lstm_hidden_state_shape
    before = _zero_states(layers, len(starts), hidden_size, policy.device)
    states = _zero_states(layers, len(first), hidden_size, policy.device)
    no_start = th.zeros(len(first), device=policy.device)
    with th.no_grad():
        for step in range(int(lengths.max())):
            rows, goes_on = first + np.minimum(step, lengths - 1), step < lengths
            for kept, now in zip((*before.pi, *before.vf), (*states.pi, *states.vf), strict=True):
                kept[:, rows[goes_on]] = now[:, goes_on]
            *_, states = policy(index_observations(observations, rows), states, no_start, deterministic=True)
    return before


def states_in_buffer(buffer: Any, device: th.device) -> RNNStates:
    """
    :param buffer: A recurrent rollout buffer, filled and not handed out yet
    :param device: Where the states shall lie
    :return: Hidden states of actor and critic before each of its rows, in flat order, zero where an episode
        starts, each ``[layers, N, hidden size]``
    """

    def flat(states: np.ndarray) -> th.Tensor:
        # [n_steps, layers, n_envs, hidden] -> [layers, n_envs, n_steps, hidden]
        moved = states.transpose(1, 2, 0, 3) * (1.0 - buffer.episode_starts.T[None, :, :, None])
        return th.as_tensor(moved.reshape(len(moved), -1, moved.shape[-1]), dtype=th.float32, device=device)

    return RNNStates(
        (flat(buffer.hidden_states_pi), flat(buffer.cell_states_pi)),
        (flat(buffer.hidden_states_vf), flat(buffer.cell_states_vf)),
    )


def _zero_states(layers: int, n_rows: int, hidden_size: int, device: th.device) -> RNNStates:
    def zeros() -> th.Tensor:
        return th.zeros(layers, n_rows, hidden_size, device=device)

    return RNNStates((zeros(), zeros()), (zeros(), zeros()))


def _index_states(states: RNNStates, rows: np.ndarray) -> RNNStates:
    """Hidden states of some rows, in one piece each, as torch's LSTM wants them."""
    pi, vf = (tuple(state[:, rows].contiguous() for state in pair) for pair in (states.pi, states.vf))
    return RNNStates(pi, vf)
