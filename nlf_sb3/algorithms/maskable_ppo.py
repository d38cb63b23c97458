"""MaskablePPO that learns from feedback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sb3_contrib
import torch as th

from nlf_sb3.algorithms.clipped import JoinsSingleRow
from nlf_sb3.algorithms.rows import PolicyRows
from nlf_sb3.buffers.labels import NO_LABEL
from nlf_sb3.errors import FeedbackError
from nlf_sb3.masks import allowed_rows, check_allowed
from nlf_sb3.segments import ExpertSegment


class MaskablePPO(JoinsSingleRow, sb3_contrib.MaskablePPO):
    """
    sb3-contrib's MaskablePPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm` are keywords. Labels and injected actions that a mask forbids are
    bad feedback (``on_error``); a takeover that executed one is always an error. Experts get the masks through
    :meth:`~nlf_sb3.teachers.Expert.act_within`, and an expert's distribution is normalised anew over what is allowed.

    A last minibatch of one row joins the one before it, where advantages are normalised
    (:class:`~nlf_sb3.algorithms.clipped.JoinsSingleRow`).
    """

    trains_tokens = False
    _use_masking = True

    def collect_rollouts(
        self, env: Any, callback: Any, rollout_buffer: Any, n_rollout_steps: int, use_masking: bool = True
    ) -> bool:
        """
        As in sb3-contrib.

        :param env: As in sb3-contrib
        :param callback: As in sb3-contrib
        :param rollout_buffer: As in sb3-contrib
        :param n_rollout_steps: As in sb3-contrib
        :param use_masking: As in sb3-contrib
        :return: As in sb3-contrib
        """
        self._use_masking = use_masking
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps, use_masking)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_use_masking"]

    def _rollout_masks(self, rows: np.ndarray) -> np.ndarray | None:
        buffer = self.rollout_buffer
        return buffer.take_rows(buffer.action_masks, rows).astype(bool) if self._use_masking else None

    def _policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> PolicyRows:
        return PolicyRows(self.policy, observations, actions, masks if self._use_masking else None)

    def _check_segment(self, segment: ExpertSegment) -> None:
        if not self._use_masking:
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
            self.action_space,
            "expert segment",
            lambda row: f"the action of step {segment.fork_step + row}",
        )

    def _check_labels(self) -> None:
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        masks = self._rollout_masks(rows)
        if masks is None or not len(rows):
            return
        labels = buffer.take_rows(buffer.label_actions, rows)
        try:
            check_allowed(labels, masks, self.action_space, "label", self._row_name(rows))
        except FeedbackError:
            if self.on_error == "raise":
                raise
            forbidden = rows[~allowed_rows(labels, masks, self.action_space)]
            buffer.label_kinds[forbidden % buffer.buffer_size, forbidden // buffer.buffer_size] = NO_LABEL
            self._statistics.skipped += len(forbidden)

    def _check_executed(self, rows: np.ndarray) -> None:
        masks = self._rollout_masks(rows)
        if masks is None:
            return
        space = self.action_space
        actions = self.rollout_buffer.take_rows(self.rollout_buffer.actions, rows).astype(np.int64)
        # on_error="skip" can't help: the environment has gone on from what was executed.
        check_allowed(actions.reshape(len(rows), *(space.shape or ())), masks, space, "executed action", self._row_name(rows))

    def _row_name(self, rows: np.ndarray) -> Callable[[int], str]:
        n_steps = self.rollout_buffer.buffer_size
        return lambda row: f"that of environment {rows[row] // n_steps}, rollout step {rows[row] % n_steps},"
