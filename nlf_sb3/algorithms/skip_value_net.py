"""Skip the value network when its output is unused: ``evaluate_actions`` would evaluate it beside the actor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor


@contextlib.contextmanager
def skip_value_net(policy: ActorCriticPolicy) -> Iterator[None]:
    """
    While active, the policy's value network sees zeros in the place of its hidden layers' outputs.

    Values are then meaningless. Actions, log-probabilities and entropies don't change. An extractor other than SB3's own is
    left as it is.

    :param policy: The policy in training
    """
    extractor = getattr(policy, "mlp_extractor", None)  # a user's policy may have none
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
