"""Ask the schedule of alpha, and undo what imitation did where the schedule finds that it did harm."""

from __future__ import annotations

import copy

from nlf_sb3.algorithms.takeover import SettlesTakeovers
from nlf_sb3.schedules import AdaptiveAlpha, TrainingState, alpha_of, as_schedule


class FollowsSchedule(SettlesTakeovers):
    """Knows alpha for each rollout, and keeps the policy of before imitation as long as it may have to come back."""

    def _next_alpha(self) -> float:
        """Ask the schedule, once for each rollout."""
        returns, self._episode_returns = tuple(self._episode_returns), []
        state = TrainingState(self._current_progress_remaining, self._n_rollouts_trained, returns)
        self._n_rollouts_trained += 1
        return alpha_of(as_schedule(self.alpha), state)

    def _was_put_back(self) -> bool:
        """
        Keep the policy of before imitation while the schedule may find that this does harm, and put it back if it does.

        The rollout at hand was collected by the other policy, and is not trained on.
        """
        schedule, kept = self.alpha, self._before_imitation
        if not isinstance(schedule, AdaptiveAlpha):
            return False
        if schedule.is_open and kept is None:
            self._before_imitation = copy.deepcopy((self.policy.state_dict(), self.policy.optimizer.state_dict()))
        elif not schedule.is_open:
            self._before_imitation = None
        if not schedule.failed or kept is None:
            return False
        self.policy.load_state_dict(kept[0])
        self.policy.optimizer.load_state_dict(kept[1])
        return True
