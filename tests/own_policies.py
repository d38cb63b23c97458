"""Kinds of policies that users may write, which make or evaluate their distributions in ways of their own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn


class StillEnv(gym.Env):
    """The same observation at each step, and no reward."""

    def __init__(self, is_dict: bool = False) -> None:
        box = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"a": box, "b": box}) if is_dict else box
        self.action_space = gym.spaces.Box(0, 1, (1,), np.float32)
        zeros = np.zeros(2, np.float32)
        self.observation = {"a": zeros, "b": zeros} if is_dict else zeros

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self.observation, {}

    def step(self, action):
        self._steps += 1
        return self.observation, 0.0, self._steps >= 5, False, {}


class MakesAnew:
    """The mean is that of a base controller and what is learned."""

    def _get_action_dist_from_latent(self, latent_pi):
        learned = super()._get_action_dist_from_latent(latent_pi)
        return DiagGaussianDistribution(1).proba_distribution(learned.mode() + 0.5, self.log_std)


class Refills:
    """The same, in the distribution that SB3's policy has."""

    def _get_action_dist_from_latent(self, latent_pi):
        learned = super()._get_action_dist_from_latent(latent_pi)
        return learned.proba_distribution(learned.mode() + 0.5, self.log_std)


class ByItself:
    """The same, by methods that know nothing of SB3's way there."""

    def get_distribution(self, obs):
        latent = self.mlp_extractor.forward_actor(self.extract_features(obs))
        return DiagGaussianDistribution(1).proba_distribution(self.action_net(latent) + 0.5, self.log_std)

    def forward(self, obs, deterministic=False):
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(self, obs, actions):
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()


class BetaDistribution(Distribution):
    """Two numbers above 1 for each dimension; torch's distribution under another name than SB3's."""

    sums = True

    def proba_distribution_net(self, *args, **kwargs):
        raise NotImplementedError

    def proba_distribution(self, raw):
        first, second = (nn.functional.softplus(raw) + 1.01).chunk(2, dim=1)
        self.distribution = self.beta = th.distributions.Beta(first, second)
        return self

    def log_prob(self, actions):
        log_prob = self.beta.log_prob(actions.clamp(1e-4, 1 - 1e-4))
        return log_prob.sum(dim=1) if self.sums else log_prob

    def entropy(self):
        return self.beta.entropy().sum(dim=1)

    def sample(self):
        return self.beta.rsample()

    def mode(self):
        return self.beta.mean

    def actions_from_params(self, *args, **kwargs):
        raise NotImplementedError

    def log_prob_from_params(self, *args, **kwargs):
        raise NotImplementedError


class UnsummedBeta(BetaDistribution):
    sums = False


class HiddenBeta(BetaDistribution):
    """Without SB3's attribute."""

    def proba_distribution(self, raw):
        super().proba_distribution(raw)
        del self.distribution
        return self


class IsBeta:
    distribution_class = BetaDistribution

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.action_net = nn.Linear(self.mlp_extractor.latent_dim_pi, 2)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi):
        return self.distribution_class().proba_distribution(self.action_net(latent_pi))


class IsHiddenBeta(IsBeta):
    distribution_class = HiddenBeta


class IsUnsummedBeta(IsBeta):
    distribution_class = UnsummedBeta


class ShiftedGaussian(DiagGaussianDistribution):
    """A Gaussian of SB3's that keeps more of each row than torch's distribution does."""

    def proba_distribution(self, mean_actions, log_std):
        self.shift = 0.5 + 0.0 * mean_actions
        return super().proba_distribution(mean_actions, log_std)

    def log_prob(self, actions):
        return super().log_prob(actions - self.shift)

    def sample(self):
        return super().sample() + self.shift

    def mode(self):
        return super().mode() + self.shift


class IsShifted:
    def _build(self, lr_schedule):
        self.action_dist = ShiftedGaussian(1)
        super()._build(lr_schedule)


class ShiftsChoices:
    """Prefers one choice to what is learned."""

    def _get_action_dist_from_latent(self, latent_pi):
        logits = self.action_net(latent_pi) + th.tensor([0.0, 5.0, 0.0])
        return type(self.action_dist)(3).proba_distribution(action_logits=logits)


class ActsOtherwise:
    """Acts by another distribution than it is trained by."""

    def get_distribution(self, obs):
        learned = super().get_distribution(obs)
        return DiagGaussianDistribution(1).proba_distribution(learned.mode() + 0.5, self.log_std)


class EvaluatesOtherwise:
    """Trains log-probabilities that no distribution of its own has."""

    def evaluate_actions(self, obs, actions):
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return values, 0.5 * log_prob - 1.0, entropy


class Drops(ByItself):
    """Evaluates by itself, and forgets some of what it sees while it trains."""

    def extract_features(self, obs, features_extractor=None):
        return nn.functional.dropout(super().extract_features(obs, features_extractor) + 1.0, 0.3, self.training)


def policy_class(kind: type, base: type = ActorCriticPolicy) -> type:
    made = type(f"{kind.__name__}Policy", (kind, base), {"__module__": __name__})
    globals()[made.__name__] = made  # SB3 pickles classes by reference
    return made
