"""Change the size of rollouts between the phases of a training."""

from __future__ import annotations

from typing import Any

from nlf_sb3.algorithms.schedule import AlphaControl
from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.resizing import resize_rollout_buffer
from nlf_sb3.plain_state import from_plain, to_plain
from nlf_sb3.schedules import TrainingPhases


class PhaseControl:
    """
    Changes the model's ``n_steps`` and ``batch_size`` between rollouts, as its ``phases`` says.

    :param model: The algorithm's model
    :param schedule: Knows how often there was imitation
    """

    def __init__(self, model: Any, schedule: AlphaControl) -> None:
        self._model = model
        self._schedule = schedule
        self._first_size: tuple[int, int | None] | None = None
        """``n_steps`` and ``batch_size`` of the first phase; None as long as there was no other."""
        self.phase: TrainingPhases | None = None
        """The phase that holds now; None for the algorithm's own numbers."""

    def check_buffer(self) -> None:
        """
        :raises ValueError: If rollouts have no number of steps that could change
        """
        if self._model.phases is not None and isinstance(self._model.rollout_buffer, EpisodeBuffer):
            raise ValueError(
                f"phases: got {self._model.phases!r}, and rollouts of {type(self._model).__name__} are whole episodes here. "
                "Leave it at None."
            )

    def begin(self) -> None:
        """Give the first rollout of a training its size."""
        self.next(1.0)

    def next(self, alpha: float) -> None:
        """
        Give the next rollout its size.

        :param alpha: Weight of the policy gradient in the last rollout
        """
        model = self._model
        phase = self._next_phase(alpha)
        if phase == self.phase:
            return
        own = model.n_steps, getattr(model, "batch_size", None)
        if self.phase is None:
            self._first_size = own
        self.phase = phase
        n_steps, batch_size = (phase.n_steps, phase.batch_size) if phase is not None else self._first_size or own
        model.n_steps = n_steps
        if own[1] is not None:  # A2C has none
            model.batch_size = batch_size
        resize_rollout_buffer(model.rollout_buffer, n_steps)

    def learning_rate(self) -> Any:
        """
        :return: The phase's learning rate as a schedule of the progress remaining; None for the algorithm's own
        """
        return None if self.phase is None or self.phase.learning_rate is None else self.phase.rate

    def _next_phase(self, alpha: float) -> TrainingPhases | None:
        model, phase = self._model, self._model.phases
        if phase is not None and self._schedule.n_imitated == 0:
            phase = phase.otherwise
        total = model._total_timesteps
        rest = total - model.num_timesteps
        while phase is not None and phase != self.phase and rest < phase.least_timesteps * model.n_envs:
            phase = phase.otherwise
        if phase is None or not phase.holds(rest / max(total, 1), alpha):
            return None
        return phase  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        """
        :return: The state, as plain data
        """
        return {"first_size": self._first_size, "phase": to_plain(self.phase)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        :param state: As :meth:`state_dict` returned it
        """
        self._first_size, self.phase = state["first_size"], from_plain(state["phase"])
