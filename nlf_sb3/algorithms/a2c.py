"""A2C that learns from feedback."""

from __future__ import annotations

import stable_baselines3

from nlf_sb3.algorithms.mixin import FeedbackMixin


class A2C(FeedbackMixin, stable_baselines3.A2C):
    """
    Stable-Baselines3's A2C with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords.
    """
