"""Rollout buffers that keep observations of tokens in memory linear in the tokens, and deal in whole sequences."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import RolloutBuffer

from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.episodes import samples_of
from nlf_sb3.language.contexts import TokenContexts, without_padding
from nlf_sb3.language.sequences import TokenSequence


class _KeepsContexts(RolloutBuffer):
    """Holds observations as :class:`TokenContexts`, ``[n_steps, n_envs]``, and so do its samples."""

    holds_contexts = True
    """By which an algorithm knows such a buffer, without importing this one."""
    observations: Any
    """:class:`TokenContexts`, ``[n_steps, n_envs]``."""

    def reset(self) -> None:
        self.obs_shape = ()  # SB3 would make room for padded observations
        super().reset()
        self.observations = TokenContexts.empty(self.buffer_size, self.n_envs)

    def add(
        self, obs: Any, action: np.ndarray, reward: Any, episode_start: np.ndarray, value: Any, log_prob: Any, **kwargs: Any
    ) -> None:
        """
        As in SB3, with padded observations ``[n_envs, context_length]``.

        :param obs: Tokens, then :data:`~nlf_sb3.language.contexts.EMPTY`
        :param action: As in SB3
        :param reward: As in SB3
        :param episode_start: As in SB3
        :param value: As in SB3
        :param log_prob: As in SB3
        """
        row = self.pos
        for env, observation in enumerate(obs):
            tokens = without_padding(observation)
            self.observations.sequences[row, env] = self._sequence_of(env, tokens)
            self.observations.lengths[row, env] = len(tokens)
        self.actions[row] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[row] = reward
        self.episode_starts[row] = episode_start
        self.values[row] = value.detach().cpu().numpy().flatten()
        self.log_probs[row] = log_prob.detach().cpu().numpy().flatten()
        self.pos = row + 1
        self.full = self.pos == self.buffer_size

    def _sequence_of(self, env: int, tokens: np.ndarray) -> TokenSequence:
        """The sequence of these tokens: the environment's last one, if they are one more than it, or a new one."""
        if not hasattr(self, "_growing"):
            self._growing: list[TokenSequence | None] = [None] * self.n_envs
        last = self._growing[env]
        if last is not None and len(tokens) == len(last) + 1 and np.array_equal(last.tokens, tokens[:-1]):
            last.append(int(tokens[-1]))
            return last
        self._growing[env] = new = TokenSequence(tokens)
        return new

    def to_torch(self, array: Any, copy: bool = True) -> Any:
        """
        :param array: An array, or contexts, which stay what they are
        :param copy: As in SB3
        :return: The tensor, or the contexts
        """
        return array if isinstance(array, TokenContexts) else super().to_torch(array, copy)


class TokenRolloutBuffer(_KeepsContexts):
    """
    A rollout of a fixed number of steps, for PPO and A2C on tokens.

    A minibatch is counted in sequences: the contiguous rows of one episode in the rollout. ``batch_size=4`` is four of
    them, however long they are.

    Parameters are those of SB3's ``RolloutBuffer``.
    """

    def sequence_rows(self) -> list[np.ndarray]:
        """Flat indices, ``env * n_steps + step``, of each sequence's rows."""
        parts = []
        for env in range(self.n_envs):
            first = np.flatnonzero(self.episode_starts[1:, env]) + 1
            parts += np.split(env * self.buffer_size + np.arange(self.buffer_size), first)
        return parts

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """
        :param batch_size: Sequences in a minibatch; None for all of them
        """
        assert self.full, "Collect a rollout before get()"
        sequences = self.sequence_rows()
        order = np.random.permutation(len(sequences))
        for start in range(0, len(order), batch_size or len(order)):
            chosen = order[start : start + (batch_size or len(order))]
            yield self._get_samples(np.concatenate([sequences[i] for i in chosen]))

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
        return samples_of(self, batch_inds)


class TokenEpisodeBuffer(EpisodeBuffer, _KeepsContexts):
    """
    An :class:`~nlf_sb3.buffers.EpisodeBuffer` for REINFORCE on tokens; its minibatches are counted in episodes.

    Parameters are those of SB3's ``RolloutBuffer``.
    """

    def reset(self) -> None:
        super().reset()
        self.observations[self.pos :] = self.observations.blank(self.buffer_size - self.pos)  # lets go of their sequences
