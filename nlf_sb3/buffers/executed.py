"""Keep the actions that an expert executed in the agent's place, as the rollout's own."""

from __future__ import annotations

import numpy as np

from nlf_sb3.buffers.minibatches import MinibatchMixin


class ExecutedActionsMixin(MinibatchMixin):
    """Knows the rows in which an expert acted, and its actions. A subclass's ``add`` puts them in the place of proposals."""

    executed: np.ndarray
    """``[n_steps, n_envs]``: whether an expert acted."""
    expert_log_probs: np.ndarray
    """log pi_E of the executed action, ``[n_steps, n_envs]``; NaN where it isn't known or the agent acted."""

    def reset(self) -> None:
        super().reset()
        self.executed = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        self.expert_log_probs = np.full((self.buffer_size, self.n_envs), np.nan, dtype=np.float32)
        self._executed_now: dict[int, np.ndarray] = {}

    def add_executed(self, env: int, action: np.ndarray, log_prob: float | None) -> None:
        """
        Note the executed action of the step that the next :meth:`add` brings.

        :param env: Index of the environment
        :param action: The action in the policy's scale, ``[action_dim]``
        :param log_prob: log pi_E of it, if it is known
        """
        self._executed_now[env] = action
        self.executed[self.pos, env] = True
        self.expert_log_probs[self.pos, env] = np.nan if log_prob is None else log_prob

    def _as_executed(self, action: np.ndarray) -> np.ndarray:
        """The actions executed in this step, where the agent proposed ``action``, ``[n_envs, action_dim]``."""
        action = np.array(action).reshape((self.n_envs, self.action_dim))
        for env, executed in self._executed_now.items():
            action[env] = executed
        self._executed_now = {}
        return action
