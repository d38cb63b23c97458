"""RecurrentPPO that learns from feedback."""

from __future__ import annotations

import sb3_contrib

from nlf_sb3.adapters.recurrent import RecurrentAdapter
from nlf_sb3.algorithms.mixin import FeedbackMixin


class RecurrentPPO(FeedbackMixin, sb3_contrib.RecurrentPPO):
    """
    sb3-contrib's RecurrentPPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords. Injected episodes are sequences: the policy's
    hidden state before each of their rows is that of the policy that collected the rollout, and each epoch deals them
    out in contiguous parts. ``demonstrations`` have no past that a hidden state could come from, and are refused; so are
    an expert's actions beside squashed ones that sb3-contrib doesn't rescale (bounds other than -1 and 1).

    A last minibatch of one row joins the one before it, where advantages are normalised
    (:class:`~nlf_sb3.adapters.clipped.SingleRowAdapter`).
    """

    adapter_class = RecurrentAdapter
