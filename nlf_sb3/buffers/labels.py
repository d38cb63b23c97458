"""Keep labels, raw observations and injected episodes beside the transitions of any SB3 rollout buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import RolloutBuffer

from nlf_sb3.buffers.executed import ExecutedActionsMixin
from nlf_sb3.feedback import Feedback
from nlf_sb3.segments import ExpertSegment, Observations

NO_LABEL, SAMPLE, MODE = 0, 1, 2
"""Values of ``label_kinds``."""


class FeedbackBufferMixin(ExecutedActionsMixin):
    """Labels and remarks of a rollout buffer, row by row in its own ``[n_steps, n_envs]`` layout."""

    label_kinds: np.ndarray
    """``[n_steps, n_envs]``: NO_LABEL, SAMPLE or MODE."""
    label_actions: np.ndarray
    """Environment-scale expert actions, ``[n_steps, n_envs, *action_shape]``."""
    label_weights: np.ndarray
    """``[n_steps, n_envs]``."""
    raw_observations: Any
    """Observations before VecNormalize, ``[n_steps, n_envs, *obs_shape]`` or a dict of such; None if not kept."""
    remarks: np.ndarray | None
    """Records that hold words, ``[n_steps, n_envs]`` objects; something false where nothing was said. None if it never was."""
    segments: list[tuple[ExpertSegment, list[np.ndarray]]]
    """Injected episodes of this rollout, each with the shared prefix's actions as the policy proposed them."""

    def reset(self) -> None:
        super().reset()
        shape = (self.buffer_size, self.n_envs)
        self.label_kinds = np.zeros(shape, dtype=np.int8)
        self.label_actions = np.zeros((*shape, *(self.action_space.shape or ())), dtype=self.action_space.dtype)
        self.label_weights = np.zeros(shape, dtype=np.float32)
        self.raw_observations = None
        self.remarks = None
        self.segments = []

    def keep_episode_actions(self) -> None:
        """Remember each environment's actions since its episode's start: an injected prefix needs them."""
        if not hasattr(self, "episode_actions"):
            self.episode_actions: list[list[np.ndarray]] = [[] for _ in range(self.n_envs)]

    def add(
        self, obs: Any, action: np.ndarray, reward: np.ndarray, episode_start: np.ndarray, *args: Any, **kwargs: Any
    ) -> None:
        if hasattr(self, "episode_actions"):
            rows = action.reshape((self.n_envs, self.action_dim))
            for env, start in enumerate(episode_start):
                if start:
                    self.episode_actions[env] = []
                self.episode_actions[env].append(rows[env].copy())
        if self._executed_now:
            action = self._as_executed(action)
        super().add(obs, action, reward, episode_start, *args, **kwargs)

    def add_label(self, env: int, feedback: Feedback, action: np.ndarray) -> bool:
        """
        Write a label to the row that the feedback speaks of; the next :meth:`add` fills the row itself.

        :param env: Index of the environment
        :param feedback: The record
        :param action: Its expert action, checked
        :return: False if the rollout doesn't hold that row any more
        """
        row = self.pos - feedback.steps_ago
        if row < self.first_row(env):
            return False
        self.label_kinds[row, env] = SAMPLE if feedback.label == "sample" else MODE
        self.label_actions[row, env] = action
        self.label_weights[row, env] = feedback.weight
        return True

    def add_remark(self, env: int, feedback: Feedback) -> None:
        """
        Keep a remark about a row.

        :param env: Index of the environment
        :param feedback: The record
        """
        row = self.pos - feedback.steps_ago
        if row < self.first_row(env):
            return
        if self.remarks is None:
            self.remarks = np.full((self.buffer_size, self.n_envs), None, dtype=object)
        self.remarks[row, env] = feedback

    def add_segment(self, env: int, segment: ExpertSegment, as_executed: Callable[[np.ndarray], np.ndarray]) -> bool:
        """
        Keep an injected episode with the actions that the policy proposed in its shared prefix.

        :param env: Index of the environment whose episode was injected
        :param segment: The injected episode
        :param as_executed: Maps proposed actions, ``[n, action_dim]``, to those that the environment got
        :return: False if the prefix isn't known: training began, or went on, in the middle of the episode
        """
        prefix: list[np.ndarray] = []
        if segment.fork_step > 0:
            prefix = getattr(self, "episode_actions", [[]] * self.n_envs)[env][: segment.fork_step]
            if len(prefix) < segment.fork_step:
                return False
            # The record has the space's dtype; the environment got SB3's version of the policy's floats.
            dtype: Any = self.action_space.dtype
            executed = as_executed(np.stack(prefix)).astype(dtype)
            if not np.allclose(executed, segment.actions[: segment.fork_step].astype(dtype), atol=1e-6):
                return False
        self.segments.append((segment, prefix))
        return True

    def add_raw_observation(self, observation: Observations) -> None:
        """
        :param observation: The states acted in, before normalisation, ``[n_envs, *obs_shape]`` or a dict of such
        """
        if isinstance(observation, dict):
            if self.raw_observations is None:
                self.raw_observations = {key: self._empty_rows(value) for key, value in observation.items()}
            for key, value in observation.items():
                self.raw_observations[key][self.pos] = value
            return
        if self.raw_observations is None:
            self.raw_observations = self._empty_rows(observation)
        self.raw_observations[self.pos] = observation

    def first_row(self, env: int) -> int:
        """The first row of an environment that is still to be trained on."""
        return 0

    def _empty_rows(self, like: np.ndarray) -> np.ndarray:
        return np.zeros((self.buffer_size, *like.shape), dtype=like.dtype)


@cache
def _with_feedback(buffer_class: type) -> type:
    def reduce(buffer: Any, protocol: Any) -> tuple[Any, ...]:
        # Pickle finds classes by name, and would not find this one.
        return _unfilled, (buffer_class,), *object.__reduce_ex__(buffer, 2)[2:]

    members = {"__module__": __name__, "__reduce_ex__": reduce}
    return type(f"Feedback{buffer_class.__name__}", (FeedbackBufferMixin, buffer_class), members)


def _unfilled(buffer_class: type) -> Any:
    """A buffer that keeps feedback, for pickle to fill."""
    feedback_class: Any = _with_feedback(buffer_class)
    return feedback_class.__new__(feedback_class)


def keep_feedback(buffer: RolloutBuffer) -> FeedbackBufferMixin:
    """
    Make a rollout buffer keep feedback, whatever its class and however it was made.

    The class is changed in place: sb3-contrib's algorithms build their buffers with arguments of their
    own, which this need not know, and the model's ``rollout_buffer_class`` stays one that loads
    without nlf_sb3.

    :param buffer: A fresh rollout buffer
    :return: The same object, empty
    """
    if not isinstance(buffer, FeedbackBufferMixin):
        buffer.__class__ = _with_feedback(type(buffer))
        buffer.reset()
    assert isinstance(buffer, FeedbackBufferMixin)
    return buffer
