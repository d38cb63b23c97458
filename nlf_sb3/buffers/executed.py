"""Keep the actions that somebody else executed in the place of the agent's, as the rollout's own."""

from __future__ import annotations

import numpy as np

from nlf_sb3.buffers.minibatches import MinibatchMixin


class ExecutedActionsMixin(MinibatchMixin):
    """Knows in which rows somebody else acted, and what: a subclass's ``add`` puts that in the place of what was proposed."""

    executed: np.ndarray
    """``[n_steps, n_envs]``: whether somebody else acted."""
    expert_log_probs: np.ndarray
    """log pi_E of the executed action, ``[n_steps, n_envs]``; NaN where it isn't known or the agent acted."""

    def reset(self) -> None:
        super().reset()
        self.executed = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        self.expert_log_probs = np.full((self.buffer_size, self.n_envs), np.nan, dtype=np.float32)
        self._executed_now: dict[int, np.ndarray] = {}

    def add_executed(self, env: int, action: np.ndarray, log_prob: float | None) -> None:
        """
        Say what was executed in the step that the next :meth:`add` brings.

        :param env: Index of the environment
        :param action: The action in the policy's scale, ``[action_dim]``
        :param log_prob: log pi_E of it, if it is known
        """
        self._executed_now[env] = action
        self.executed[self.pos, env] = True
        self.expert_log_probs[self.pos, env] = np.nan if log_prob is None else log_prob

    def _as_executed(self, action: np.ndarray) -> np.ndarray:
        """What was executed in this step, where the agent proposed ``action``, ``[n_envs, action_dim]``."""
        action = np.array(action).reshape((self.n_envs, self.action_dim))
        for env, executed in self._executed_now.items():
            action[env] = executed
        self._executed_now = {}
        return action
