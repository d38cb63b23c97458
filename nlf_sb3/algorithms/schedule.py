"""alpha of each rollout, and the policy from before imitation, which returns if the schedule finds that imitation did harm."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.schedules import AdaptiveAlpha, TrainingState, alpha_of, as_schedule


class AlphaControl:
    """
    Asks the model's schedule for alpha, once for each rollout.

    :param model: The algorithm's model
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._episode_returns: list[float] = []
        self._n_rollouts = 0
        self._snapshot: Any = None
        self.n_imitated = 0
        """Number of rollouts with imitation since the beginning, or since the policy was restored."""

    def begin(self) -> None:
        """Begin a training."""
        self._n_rollouts = self.n_imitated = 0
        self._snapshot = None
        for rule in (self._model.alpha, *self._model.imitation.weights):
            if hasattr(rule, "reset"):
                rule.reset()

    def forget_returns(self) -> None:
        """Leave out returns that were not used yet: the environments begin anew."""
        self._episode_returns = []

    def add_return(self, episode_return: float) -> None:
        """
        :param episode_return: Of an episode that the agent played alone
        """
        self._episode_returns.append(episode_return)

    def next(self) -> float:
        """
        :return: alpha of the rollout at hand
        """
        model = self._model
        returns, self._episode_returns = tuple(self._episode_returns), []
        state = TrainingState(model._current_progress_remaining, self._n_rollouts, returns, self.n_imitated)
        self._n_rollouts += 1
        alpha = alpha_of(as_schedule(model.alpha), state)
        if isinstance(model.alpha, AdaptiveAlpha):
            for key, value in model.alpha.to_log().items():
                model.logger.record(key, value)
        return alpha

    def snapshot_policy(self) -> None:
        """Keep the policy of before the first imitation, while the schedule may still find that imitation does harm."""
        is_first, self.n_imitated = self.n_imitated == 0, self.n_imitated + 1
        model = self._model
        if isinstance(model.alpha, AdaptiveAlpha) and model.alpha.is_open and is_first:
            self._snapshot = copy.deepcopy((model.policy.state_dict(), model.policy.optimizer.state_dict()))

    def restore_if_failed(self) -> bool:
        """
        Restore the policy of before imitation, if the schedule finds that imitation did harm.

        The other policy collected the rollout at hand, so that the restored one does not train on it.

        :return: Whether the policy was restored
        """
        model, schedule, snapshot = self._model, self._model.alpha, self._snapshot
        if not isinstance(schedule, AdaptiveAlpha) or schedule.is_open:
            return False
        self._snapshot = None
        if not schedule.failed or snapshot is None:
            return False
        self.n_imitated = 0
        model.policy.load_state_dict(snapshot[0])
        model.policy.optimizer.load_state_dict(snapshot[1])
        if isinstance(model.rollout_buffer, EpisodeBuffer):  # episodes that the other policy began are none of this one's
            model._last_episode_starts = np.ones(model.n_envs, dtype=bool)
        return True

    def state_dict(self) -> dict[str, Any]:
        """
        :return: The state, as plain data. The snapshot is not part of it.
        """
        return {"n_rollouts": self._n_rollouts, "n_imitated": self.n_imitated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        :param state: As :meth:`state_dict` returned it
        """
        self._n_rollouts, self.n_imitated = state["n_rollouts"], state["n_imitated"]
