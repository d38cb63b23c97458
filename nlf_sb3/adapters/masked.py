"""MaskablePPO: action masks travel with labels, segments and demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

from nlf_sb3.adapters.clipped import SingleRowAdapter
from nlf_sb3.buffers.labels import NO_LABEL
from nlf_sb3.errors import FeedbackError
from nlf_sb3.masks import allowed_rows, check_allowed
from nlf_sb3.objectives.policy_rows import PolicyRows
from nlf_sb3.segments import ExpertSegment


class MaskedAdapter(SingleRowAdapter):
    """MaskablePPO of sb3-contrib."""

    trains_tokens = False
    uses_masks = True
    """Whether the present rollout was collected with masks."""

    def rollout_masks(self, rows: np.ndarray) -> np.ndarray | None:
        buffer = self.model.rollout_buffer
        return buffer.take_rows(buffer.action_masks, rows).astype(bool) if self.uses_masks else None

    def policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> PolicyRows:
        return PolicyRows(self.model.policy, observations, actions, masks if self.uses_masks else None)

    def check_segment(self, segment: ExpertSegment) -> None:
        if not self.uses_masks:
            return
        if segment.action_masks is None:
            raise FeedbackError(
                "expert segment: no action masks, though the agent has them. TrajectoryInjection reads them from the "
                "environment that it wraps: put ActionMasker, or what else has the method action_masks, inside it."
            )
        own = slice(segment.fork_step, None)
        check_allowed(
            segment.actions[own],
            segment.action_masks[own],
            self.model.action_space,
            "expert segment",
            lambda row: f"the action of step {segment.fork_step + row}",
        )

    def pass_over_labels(self) -> int:
        model, buffer = self.model, self.model.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        masks = self.rollout_masks(rows)
        if masks is None or not len(rows):
            return 0
        labels = buffer.take_rows(buffer.label_actions, rows)
        try:
            check_allowed(labels, masks, model.action_space, "label", self._row_name(rows))
        except FeedbackError:
            if model.on_error == "raise":
                raise
            forbidden = rows[~allowed_rows(labels, masks, model.action_space)]
            buffer.label_kinds[forbidden % buffer.buffer_size, forbidden // buffer.buffer_size] = NO_LABEL
            return len(forbidden)
        return 0

    def check_executed(self, rows: np.ndarray) -> None:
        masks = self.rollout_masks(rows)
        if masks is None:
            return
        space, buffer = self.model.action_space, self.model.rollout_buffer
        actions = buffer.take_rows(buffer.actions, rows).astype(np.int64)
        # on_error="skip" can't help: the environment has gone on from the executed action.
        check_allowed(actions.reshape(len(rows), *(space.shape or ())), masks, space, "executed action", self._row_name(rows))

    def _row_name(self, rows: np.ndarray) -> Callable[[int], str]:
        n_steps = self.model.rollout_buffer.buffer_size
        return lambda row: f"that of environment {rows[row] // n_steps}, rollout step {rows[row] % n_steps},"
