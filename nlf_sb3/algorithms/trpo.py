"""TRPO that learns from feedback."""

from __future__ import annotations

import sb3_contrib

from nlf_sb3.adapters.trust_region import TrustRegionAdapter
from nlf_sb3.algorithms.mixin import FeedbackMixin


class TRPO(FeedbackMixin, sb3_contrib.TRPO):
    r"""
    sb3-contrib's TRPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.mixin.FeedbackMixin` are keywords.

    Labels and injected rows are part of the batch that the step is computed from. The objective that the line search has
    to improve is :math:`\frac{\alpha}{N} \sum_i A_i r_i + \frac{1-\alpha}{M} \sum_j w_j r_j`, with the ratios
    :math:`r = \pi(a|s) / \pi_{old}(a|s)` of the agent's and the expert's actions; its gradient at the old policy is
    the joint objective's. The trust region holds on the states of all these rows. The value network is trained on the agent's
    rows alone. N and M are counted after ``sub_sampling_factor``.

    ``imitation="kl"``, ``injection.separate_step``, ``injection.vf_coef``, ``log_gradients`` and ``auxiliary_losses`` have no
    meaning here and are refused. Language models can't be trained.
    """

    adapter_class = TrustRegionAdapter
