"""Rollout buffers of whole episodes, for algorithms that learn from complete returns."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples, RolloutBufferSamples

from nlf_sb3.buffers.labels import NO_LABEL, FeedbackBufferMixin
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.observations import ObservationRows, blank_observations, join_observations
from nlf_sb3.returns import returns_until_takeover


class _RowsWithoutValues(RolloutBuffer):
    """Takes rows that the policy's forward pass has yet to see, without the tensors that SB3 asks for at each step."""

    def add(
        self, obs: Any, action: np.ndarray, reward: Any, episode_start: np.ndarray, value: Any, log_prob: Any, **kwargs: Any
    ) -> None:
        if value is not None:
            super().add(obs, action, reward, episode_start, value, log_prob, **kwargs)
            return
        row = self.pos
        self.observations[row] = obs
        self.actions[row] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[row] = reward
        self.episode_starts[row] = episode_start
        self.pos = row + 1


class EpisodeBuffer(FeedbackBufferMixin, _RowsWithoutValues):
    """
    A rollout buffer that grows as episodes do, and hands out whole ones.

    :meth:`add` takes None for values and log-probabilities of flat observations; they are 0 until they are filled in.

    Episodes under way at an update stay for the next one. Rows keep SB3's flat index,
    ``env * n_steps + step``, with the buffer's current capacity as ``n_steps``.

    Parameters are those of SB3's ``RolloutBuffer``; ``buffer_size`` is the capacity it starts with.
    """

    def reset(self) -> None:
        if not hasattr(self, "_starts"):
            super().reset()
            self._starts = np.zeros(self.n_envs, dtype=np.int64)
        else:
            self._carry_over()
            self.label_kinds[self.pos :] = NO_LABEL
            self.executed[self.pos :] = False
            self.expert_log_probs[self.pos :] = np.nan
            self.values[self.pos :] = self.log_probs[self.pos :] = 0.0
            if self.remarks is not None:
                self.remarks[self.pos :] = None
            self.segments = []
            self.last_batch = self.left_out = None
        self._first_rows = self._starts.copy()
        self._ended: list[tuple[int, int, int]] = []
        self._row_indices: np.ndarray | None = None
        self.full = False

    def add(self, obs: Any, action: np.ndarray, reward: Any, episode_start: np.ndarray, *args: Any, **kwargs: Any) -> None:
        if True in episode_start.tolist():
            # A reset from outside cuts an episode short: its rows have no return, and are left behind.
            cut = np.asarray(episode_start, dtype=bool) & (self._starts < self.pos)
            self._starts[cut] = self._first_rows[cut] = self.pos
        super().add(obs, action, reward, episode_start, *args, **kwargs)
        self.full = False
        if self.pos == self.buffer_size:
            self._grow()

    def end_episode(self, env: int) -> None:
        """
        :param env: Index of the environment whose last added row ended its episode
        """
        self._ended.append((env, int(self._starts[env]), self.pos))
        self._starts[env] = self.pos
        self._row_indices = None

    @property
    def n_episodes(self) -> int:
        """Number of complete episodes."""
        return len(self._ended)

    @property
    def episodes(self) -> list[np.ndarray]:
        """Flat indices of each complete episode's rows, in the order in which the episodes ended."""
        return [env * self.buffer_size + np.arange(start, stop) for env, start, stop in self._ended]

    def compute_episode_returns(self, bootstrap_at_takeover: bool = False) -> None:
        """
        Fill ``returns`` with each complete episode's discounted returns-to-go.

        A bootstrap at a time limit has to be in the last reward already, as in SB3.

        :param bootstrap_at_takeover: Whether the agent's part ends where somebody else took over, with ``values`` of
            the state there. Otherwise it is credited with the other's rewards too.
        """
        for env, start, stop in self._ended:
            rows = (slice(start, stop), env)
            executed = self.executed[rows] if bootstrap_at_takeover else np.zeros(stop - start, dtype=bool)
            self.returns[rows] = returns_until_takeover(self.rewards[rows], executed, self.values[rows], self.gamma)
        self.full = True

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """
        :param batch_size: Episodes in a minibatch; None for all at once, in order
        """
        assert self.full, "Collect episodes and call compute_episode_returns() before get()"
        episodes = self.episodes
        if batch_size is None or batch_size >= len(episodes):
            yield self._get_samples(self.row_indices().copy())  # torch warns of arrays that it could not write to
            return
        order = np.random.permutation(len(episodes))
        for start in range(0, len(order), batch_size):
            yield self._get_samples(np.concatenate([episodes[i] for i in order[start : start + batch_size]]))

    def first_row(self, env: int) -> int:
        """The first row of an environment that is still to be trained on."""
        return int(self._first_rows[env])

    def row_indices(self) -> np.ndarray:
        """Flat indices of the rows of all complete episodes, ``[N]``, read-only."""
        if self._row_indices is None:
            self._row_indices = np.concatenate(self.episodes)
            self._row_indices.setflags(write=False)
        return self._row_indices

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
        self.last_batch = Minibatch(batch_inds)
        return samples_of(self, batch_inds)

    def _carry_over(self) -> None:
        """Move the rows of episodes under way to the front."""
        first = int(self._starts.min())
        kept = self.pos - first
        self._map_rows(lambda rows: _moved_to_front(rows, first, kept))
        self._starts -= first
        self.pos = kept

    def _grow(self) -> None:
        """Double the capacity."""
        self._map_rows(lambda rows: join_observations([rows, blank_observations(rows, len(rows))]))
        self.expert_log_probs[self.buffer_size :] = np.nan
        self.buffer_size *= 2
        self._row_indices = None

    def _map_rows(self, function: Any) -> None:
        """Apply a function to every array of rows of this buffer, those of subclasses included."""
        for name, value in self.__dict__.items():
            if isinstance(value, dict):
                self.__dict__[name] = {k: function(v) if self._holds_rows(v) else v for k, v in value.items()}
            elif self._holds_rows(value):
                self.__dict__[name] = function(value)

    def _holds_rows(self, value: Any) -> bool:
        return isinstance(value, (np.ndarray, ObservationRows)) and value.shape[:2] == (self.buffer_size, self.n_envs)


class DictEpisodeBuffer(EpisodeBuffer, DictRolloutBuffer):
    """An :class:`EpisodeBuffer` for dict observations."""


def samples_of(buffer: Any, batch_inds: np.ndarray) -> Any:
    """
    The samples of SB3's buffers, from arrays that still lie as they were filled, ``[n_steps, n_envs, ...]``.

    :param buffer: A rollout buffer
    :param batch_inds: Flat indices, ``[B]``
    :return: SB3's samples of these rows
    """
    steps, envs = batch_inds % buffer.buffer_size, batch_inds // buffer.buffer_size
    columns = (
        buffer.actions[steps, envs].astype(np.float32, copy=False),
        buffer.values[steps, envs],
        buffer.log_probs[steps, envs],
        buffer.advantages[steps, envs],
        buffer.returns[steps, envs],
    )
    tensors = tuple(map(buffer.to_torch, columns))
    if isinstance(buffer.observations, dict):
        observations = {key: buffer.to_torch(value[steps, envs]) for key, value in buffer.observations.items()}
        return DictRolloutBufferSamples(observations, *tensors)
    return RolloutBufferSamples(buffer.to_torch(buffer.observations[steps, envs]), *tensors)


def _moved_to_front(rows: Any, first: int, kept: int) -> Any:
    rows[:kept] = rows[first : first + kept].copy()
    return rows
