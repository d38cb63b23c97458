"""Let rollouts become longer during training."""

from __future__ import annotations

from typing import Any

from nlf_sb3.algorithms.scheduling import FollowsSchedule
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.resizing import resize_rollout_buffer
from nlf_sb3.schedules import LongerRollouts


class SizesRollouts(FollowsSchedule):
    """Changes ``n_steps``, ``batch_size`` and the learning rate between rollouts, as ``longer_rollouts`` says."""

    longer_rollouts: LongerRollouts | None
    n_steps: int
    _first_size: tuple[int, int | None] | None
    """``n_steps`` and ``batch_size`` of before; None if rollouts were never longer."""
    _longer_now: LongerRollouts | None
    """What they are now; None for the algorithm's own."""

    def _check_settings(self) -> None:
        super()._check_settings()
        if not isinstance(self.longer_rollouts, LongerRollouts | None):
            raise ValueError(
                f"longer_rollouts: got {self.longer_rollouts!r}, expected None or nlf_sb3.schedules.LongerRollouts(n_steps, "
                "batch_size)."
            )

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.longer_rollouts is not None and isinstance(self.rollout_buffer, EpisodeBuffer):
            raise ValueError(
                f"longer_rollouts: got {self.longer_rollouts!r}, and rollouts of {type(self).__name__} are whole episodes "
                "here. Leave it at None."
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._setup_learn(*args, **kwargs)
        if self.num_timesteps == 0:
            self._size_rollouts(1.0)
        return result

    def _size_rollouts(self, alpha: float) -> None:
        """
        Give the next rollout its size.

        :param alpha: Of the last one
        """
        longer = self._longer_rollouts(alpha)
        if longer == self._longer_now:
            return
        own = self.n_steps, getattr(self, "batch_size", None)
        if self._longer_now is None:
            self._first_size = own
        self._longer_now = longer
        n_steps, batch_size = (longer.n_steps, longer.batch_size) if longer is not None else self._first_size or own
        self.n_steps = n_steps
        if own[1] is not None:  # A2C has none
            vars(self)["batch_size"] = batch_size
        resize_rollout_buffer(self.rollout_buffer, n_steps)

    def _longer_rollouts(self, alpha: float) -> LongerRollouts | None:
        """What the next rollout is; None for the algorithm's own."""
        longer = self.longer_rollouts
        if longer is not None and self._n_imitated == 0:
            longer = longer.otherwise
        rest = self._total_timesteps - self.num_timesteps
        while longer is not None and longer != self._longer_now and rest < longer.least_timesteps * self.n_envs:
            longer = longer.otherwise
        if longer is None or not longer.holds(rest / max(self._total_timesteps, 1), alpha):
            return None
        return longer

    def _update_learning_rate(self, optimizers: Any) -> None:
        """As in SB3; in longer rollouts theirs, if they have one."""
        longer, own = self._longer_now, self.lr_schedule
        if longer is not None and longer.learning_rate is not None:
            self.lr_schedule = longer.rate
        super()._update_learning_rate(optimizers)
        self.lr_schedule = own
