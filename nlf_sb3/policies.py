"""A Gaussian policy whose standard deviation depends on the state."""

from __future__ import annotations

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

MIN_STD = 1e-6
"""Added to a softplus standard deviation, so that it stays positive."""


class SoftplusGaussianDistribution(DiagGaussianDistribution):
    """
    A diagonal Gaussian whose network gives mean and softplus standard deviation.

    :param action_dim: Dimension of the action
    """

    def proba_distribution_net(self, latent_dim: int, log_std_init: float = 0.0) -> tuple[nn.Module, nn.Parameter | None]:  # type: ignore[override]
        """
        :param latent_dim: Dimension of the last layer before the actions
        :param log_std_init: Not used: the network gives the standard deviation
        :return: One linear layer with mean and spread as its outputs; no free parameter
        """
        return nn.Linear(latent_dim, 2 * self.action_dim), None

    def proba_distribution(self, mean_actions: th.Tensor, log_std: th.Tensor | None) -> SoftplusGaussianDistribution:  # type: ignore[override]
        """
        :param mean_actions: The network's outputs, ``[B, 2 * action_dim]``
        :param log_std: Not used
        :return: This distribution, refilled
        """
        mean, spread = mean_actions.chunk(2, dim=1)
        self.distribution = th.distributions.Normal(mean, nn.functional.softplus(spread) + MIN_STD)
        return self


class SoftplusGaussianPolicy(ActorCriticPolicy):
    """
    SB3's actor-critic policy with a state-dependent softplus standard deviation, for Box actions.

    Its parameters are SB3's; gSDE is not among the choices.
    """

    def _build(self, lr_schedule: Schedule) -> None:
        if not isinstance(self.action_space, spaces.Box) or self.use_sde:
            raise ValueError(
                f"SoftplusGaussianPolicy: got {self.action_space} with use_sde={self.use_sde}, expected a Box without it. "
                "Use MlpPolicy."
            )
        self.action_dist = SoftplusGaussianDistribution(get_action_dim(self.action_space))
        super()._build(lr_schedule)
        del self.log_std  # SB3's algorithms log the spread of policies that have this parameter

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> SoftplusGaussianDistribution:
        return self.action_dist.proba_distribution(self.action_net(latent_pi), None)  # type: ignore[return-value, call-arg, arg-type]
