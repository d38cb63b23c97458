"""The scale of a rollout's advantages, and how an expert's rows are brought onto it."""

from __future__ import annotations

from typing import NamedTuple

import torch as th

from nlf_sb3.losses import policy_shaping_weight

MAX_SCALED_ADVANTAGE = 5.0
"""How far an injected row's advantage may lie from the agent's mean, in its standard deviations, if ``"bounded"``."""


class AdvantageScale(NamedTuple):
    """Mean and standard deviation of the agent's advantages in a rollout, and whether it normalises by them."""

    mean: float
    std: float
    normalises: bool

    @property
    def safe_std(self) -> float:
        """The standard deviation, or 1 where there is none: a rollout without any reward has no scale to share."""
        return self.std if self.std > 1e-6 else 1.0

    def bounded(self, advantages: th.Tensor) -> th.Tensor:
        """
        :param advantages: ``[K]``
        :return: The same, within :data:`MAX_SCALED_ADVANTAGE` standard deviations of the mean, ``[K]``
        """
        reach = MAX_SCALED_ADVANTAGE * self.safe_std
        return advantages.clamp(self.mean - reach, self.mean + reach)

    def as_used(self, advantages: th.Tensor) -> th.Tensor:
        """
        :param advantages: ``[K]``
        :return: As the policy loss takes them: normalised, if the agent's own are, ``[K]``
        """
        return (advantages - self.mean) / (self.safe_std + 1e-8) if self.normalises else advantages


def shaping_weights(advantages: th.Tensor, log_relative: th.Tensor, is_expert: th.Tensor) -> th.Tensor:
    """
    Weights that bound the effect of unlikely actions with a negative advantage.

    The gradient of log pi grows without end as pi vanishes, and PPO's clip doesn't hold it where the
    advantage is negative: such rows of the expert's count by :func:`~nlf_sb3.losses.policy_shaping_weight`.

    :param advantages: As the policy loss takes them, ``[K]``
    :param log_relative: log-density relative to the mode (:func:`~nlf_sb3.distributions.log_relative_density`), ``[K]``
    :param is_expert: Whether the expert chose the action, ``[K]``
    :return: ``[K]``
    """
    return th.where((advantages < 0) & is_expert, policy_shaping_weight(log_relative), th.ones_like(advantages))
