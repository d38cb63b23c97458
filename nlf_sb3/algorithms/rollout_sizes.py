"""Let rollouts become longer during training."""

from __future__ import annotations

from typing import Any

from nlf_sb3.algorithms.scheduling import FollowsSchedule
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.resizing import resize_rollout_buffer
from nlf_sb3.schedules import LongerRollouts


class SizesRollouts(FollowsSchedule):
    """Changes ``n_steps`` and ``batch_size`` between rollouts, as ``longer_rollouts`` says."""

    longer_rollouts: LongerRollouts | None
    n_steps: int
    _first_size: tuple[int, int | None] | None
    """``n_steps`` and ``batch_size`` as the algorithm was given them."""

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
        longer = self.longer_rollouts
        if longer is None:
            return
        if self._first_size is None or self.n_steps != longer.n_steps:
            self._first_size = self.n_steps, getattr(self, "batch_size", None)
        n_steps, batch_size = self._first_size
        if longer.holds(1.0 - self.num_timesteps / self._total_timesteps, alpha):
            n_steps, batch_size = longer.n_steps, None if batch_size is None else longer.batch_size
        if batch_size is not None:  # A2C has none
            vars(self)["batch_size"] = batch_size
        if n_steps != self.n_steps:
            self.n_steps = n_steps
            resize_rollout_buffer(self.rollout_buffer, n_steps)
