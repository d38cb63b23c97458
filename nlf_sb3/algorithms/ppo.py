"""PPO that learns from feedback."""

from __future__ import annotations

import stable_baselines3

from nlf_sb3.adapters.clipped import ClippedAdapter
from nlf_sb3.algorithms.mixin import FeedbackMixin


class PPO(FeedbackMixin, stable_baselines3.PPO):
    """
    Stable-Baselines3's PPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords. ``target_kl`` stops an update
    early for whatever moves the policy, imitation included; the agent's own actions tell how far, not an expert's in its
    rollout.
    """

    adapter_class = ClippedAdapter
