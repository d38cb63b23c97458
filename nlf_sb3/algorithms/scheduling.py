"""Ask the schedule of alpha, and undo what imitation did where the schedule finds that it did harm."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nlf_sb3.algorithms.takeover import SettlesTakeovers
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.schedules import AdaptiveAlpha, TrainingState, alpha_of, as_schedule


class FollowsSchedule(SettlesTakeovers):
    """Knows alpha for each rollout, and keeps the policies that may have to come back: of before imitation, and the best."""

    def _next_alpha(self) -> float:
        """Ask the schedule, once for each rollout."""
        returns, self._episode_returns = tuple(self._episode_returns), []
        state = TrainingState(self._current_progress_remaining, self._n_rollouts_trained, returns, self._n_imitated)
        self._n_rollouts_trained += 1
        alpha = alpha_of(as_schedule(self.alpha), state)
        if isinstance(self.alpha, AdaptiveAlpha):
            for key, value in self.alpha.to_log().items():
                self.logger.record(key, value)
        return alpha

    def _before_imitating(self) -> None:
        """Keep the policy of before the first imitation, while the schedule may still find that this does harm."""
        is_first, self._n_imitated = self._n_imitated == 0, self._n_imitated + 1
        if isinstance(self.alpha, AdaptiveAlpha) and self.alpha.is_open and is_first:
            self._before_imitation = self._policy_and_optimizer()

    def _was_put_back(self) -> bool:
        """
        Put the policy of before imitation or the best one back, if the schedule finds that today's is worse.

        The rollout at hand was collected by the other policy, and is not trained on.
        """
        kept = self._kept_to_put_back()
        if kept is None:
            return False
        policy, optimizer = copy.deepcopy(kept)  # an optimiser goes on with the very tensors that it is given
        self.policy.load_state_dict(policy)
        self.policy.optimizer.load_state_dict(optimizer)
        if isinstance(self.rollout_buffer, EpisodeBuffer):  # what the other policy began is no episode of this one
            self._last_episode_starts = np.ones(self.n_envs, dtype=bool)
        return True

    def _kept_to_put_back(self) -> Any:
        """The policy and optimiser that the schedule asks back, None for none; keeps and drops what it says of them."""
        schedule = self.alpha
        if not isinstance(schedule, AdaptiveAlpha) or schedule.is_open:
            return None
        before, self._before_imitation = self._before_imitation, None
        if schedule.failed:
            return before
        if schedule.is_best:
            self._best = self._policy_and_optimizer()
        return self._best if schedule.is_lost else None

    def _policy_and_optimizer(self) -> Any:
        """Copies of their states."""
        return copy.deepcopy((self.policy.state_dict(), self.policy.optimizer.state_dict()))

    def _update_learning_rate(self, optimizers: Any) -> None:
        """As in SB3, times the schedule's factor."""
        super()._update_learning_rate(optimizers)
        factor = self.alpha.learning_rate_factor if isinstance(self.alpha, AdaptiveAlpha) else 1.0
        if factor != 1.0:
            for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
                for group in optimizer.param_groups:
                    group["lr"] *= factor
                    self.logger.record("train/learning_rate", group["lr"])
