"""Spare a critic that nobody asks: it shares evaluate_actions with the actor, and would be evaluated for nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor


@contextlib.contextmanager
def idle_critic(policy: ActorCriticPolicy) -> Iterator[None]:
    """
    While active, the policy's value network sees zeros in the place of its hidden layers' outputs.

    Values are then meaningless; actions, log-probabilities and entropies are what they were. An extractor other than SB3's
    own goes on as before.

    :param policy: The policy in training
    """
    extractor = getattr(policy, "mlp_extractor", None)  # a policy may be built of something else altogether
    if type(extractor) is not MlpExtractor:
        yield
        return

    def no_latents(features: th.Tensor) -> th.Tensor:
        return features.new_zeros(len(features), extractor.latent_dim_vf)

    extractor.forward_critic = no_latents  # type: ignore[method-assign]
    try:
        yield
    finally:
        del extractor.forward_critic
