"""MaskablePPO that learns from feedback."""

from __future__ import annotations

from typing import Any

import sb3_contrib

from nlf_sb3.adapters.masked import MaskedAdapter
from nlf_sb3.algorithms.mixin import FeedbackMixin


class MaskablePPO(FeedbackMixin, sb3_contrib.MaskablePPO):
    """
    sb3-contrib's MaskablePPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords. Labels and injected actions that a mask forbids are
    bad feedback (``on_error``); an intervention that executed one is always an error. Experts get the masks through
    :meth:`~nlf_sb3.teachers.Expert.act_within`, and an expert's distribution is normalised anew over the allowed choices.

    A last minibatch of one row joins the one before it, where advantages are normalised
    (:class:`~nlf_sb3.adapters.clipped.SingleRowAdapter`).
    """

    adapter_class = MaskedAdapter

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
        adapter = self.feedback.adapter
        assert isinstance(adapter, MaskedAdapter)
        adapter.uses_masks = use_masking
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps, use_masking)
