"""Ask the schedule of alpha, and undo what imitation did where the schedule finds that it did harm."""

from __future__ import annotations

import copy

import numpy as np

from nlf_sb3.algorithms.takeover import SettlesTakeovers
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.schedules import AdaptiveAlpha, TrainingState, alpha_of, as_schedule


class FollowsSchedule(SettlesTakeovers):
    """Knows alpha for each rollout, and keeps the policy of before imitation as long as it may have to come back."""

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
            self._before_imitation = copy.deepcopy((self.policy.state_dict(), self.policy.optimizer.state_dict()))

    def _was_put_back(self) -> bool:
        """
        Put the policy of before imitation back, if the schedule finds that it did harm.

        The rollout at hand was collected by the other policy, and is not trained on.
        """
        schedule, kept = self.alpha, self._before_imitation
        if not isinstance(schedule, AdaptiveAlpha) or schedule.is_open:
            return False
        self._before_imitation = None
        if not schedule.failed or kept is None:
            return False
        self._n_imitated = 0  # nothing of it is left
        self.policy.load_state_dict(kept[0])
        self.policy.optimizer.load_state_dict(kept[1])
        if isinstance(self.rollout_buffer, EpisodeBuffer):  # what the other policy began is no episode of this one
            self._last_episode_starts = np.ones(self.n_envs, dtype=bool)
        return True
