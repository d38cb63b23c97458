"""PPO that learns from feedback."""

from __future__ import annotations

import stable_baselines3
import torch as th

from nlf_sb3.algorithms.base import FeedbackAlgorithm
from nlf_sb3.losses import clipped_surrogate_loss


class PPO(FeedbackAlgorithm, stable_baselines3.PPO):
    """
    Stable-Baselines3's PPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm` are keywords. ``target_kl`` stops an update
    early for whatever moves the policy, imitation included.
    """

    def _policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        return clipped_surrogate_loss(log_prob, old_log_prob, advantages, clip_range)
