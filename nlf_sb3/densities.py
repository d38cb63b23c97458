"""Log-densities of an action in the environment's units and in those of a policy that rescales its actions."""

from __future__ import annotations

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy


def log_rescaling(space: spaces.Box) -> float:
    r"""
    How log-densities over [-1, 1] differ from those over a space's bounds, which squashed actions are rescaled to.

    :param space: A bounded space
    :return: The sum of :math:`\log((high - low) / 2)` over its dimensions
    """
    return float(np.log((space.high.astype(np.float64) - space.low) / 2.0).sum())


def in_policy_density(policy: ActorCriticPolicy, log_probs: np.ndarray) -> th.Tensor:
    r"""
    Log-densities of environment-scale actions as those of the policy's own scale, which its log-probabilities are in.

    A policy with squashed output rescales actions from [-1, 1] to the space's bounds, so that densities differ by the
    product of :math:`(high - low) / 2` over the dimensions. Elsewhere both scales are one.

    :param policy: The policy
    :param log_probs: ``[n]``
    :return: ``[n]``
    """
    space = policy.action_space
    if isinstance(space, spaces.Box) and policy.squash_output:
        log_probs = log_probs + log_rescaling(space)
    return th.as_tensor(log_probs, dtype=th.float32, device=policy.device)
