"""REINFORCE that learns from feedback."""

from __future__ import annotations

from nlf_sb3.adapters.episodic import EpisodicAdapter
from nlf_sb3.algorithms.mixin import FeedbackMixin
from nlf_sb3.algorithms.plain_reinforce import PlainREINFORCE


class REINFORCE(FeedbackMixin, PlainREINFORCE):
    """
    :class:`PlainREINFORCE` with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords. Injected rows take returns for
    advantages, less the baseline where there is one.

    Interventions want ``baseline=True`` or ``normalize_returns=False``
    (:class:`~nlf_sb3.adapters.episodic.EpisodicAdapter` says why).
    """

    adapter_class = EpisodicAdapter
