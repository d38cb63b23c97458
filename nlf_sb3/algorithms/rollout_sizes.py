"""Change the size of rollouts between the phases of a training."""

from __future__ import annotations

from typing import Any

from nlf_sb3.algorithms.scheduling import FollowsSchedule
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.resizing import resize_rollout_buffer
from nlf_sb3.schedules import TrainingPhases


class SizesRollouts(FollowsSchedule):
    """Changes ``n_steps``, ``batch_size`` and the learning rate between rollouts, as ``phases`` says."""

    phases: TrainingPhases | None
    n_steps: int
    _first_size: tuple[int, int | None] | None
    """``n_steps`` and ``batch_size`` of the first phase; None as long as there was no other."""
    _phase: TrainingPhases | None
    """The phase that holds now; None for the algorithm's own numbers."""

    def _check_settings(self) -> None:
        super()._check_settings()
        if not isinstance(self.phases, TrainingPhases | None):
            raise ValueError(f"phases: got {self.phases!r}, expected None or nlf_sb3.TrainingPhases(n_steps, batch_size).")

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.phases is not None and isinstance(self.rollout_buffer, EpisodeBuffer):
            raise ValueError(
                f"phases: got {self.phases!r}, and rollouts of {type(self).__name__} are whole episodes "
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

        :param alpha: alpha of the last rollout
        """
        phase = self._next_phase(alpha)
        if phase == self._phase:
            return
        own = self.n_steps, getattr(self, "batch_size", None)
        if self._phase is None:
            self._first_size = own
        self._phase = phase
        n_steps, batch_size = (phase.n_steps, phase.batch_size) if phase is not None else self._first_size or own
        self.n_steps = n_steps
        if own[1] is not None:  # A2C has none
            vars(self)["batch_size"] = batch_size
        resize_rollout_buffer(self.rollout_buffer, n_steps)

    def _next_phase(self, alpha: float) -> TrainingPhases | None:
        """The phase of the next rollout; None for the algorithm's own numbers."""
        phase = self.phases
        if phase is not None and self._n_imitated == 0:
            phase = phase.otherwise
        rest = self._total_timesteps - self.num_timesteps
        while phase is not None and phase != self._phase and rest < phase.least_timesteps * self.n_envs:
            phase = phase.otherwise
        if phase is None or not phase.holds(rest / max(self._total_timesteps, 1), alpha):
            return None
        return phase

    def _update_learning_rate(self, optimizers: Any) -> None:
        """As in SB3, with the learning rate of the phase if it has one."""
        phase, own = self._phase, self.lr_schedule
        if phase is not None and phase.learning_rate is not None:
            self.lr_schedule = phase.rate
        super()._update_learning_rate(optimizers)
        self.lr_schedule = own
