"""Actions in the environment's scale, and in the scale of the policy's distribution."""

from __future__ import annotations

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy


def scale_to_policy(policy: BasePolicy, actions: np.ndarray) -> np.ndarray:
    """
    :param policy: The policy
    :param actions: In the environment's scale, ``[n, *action_shape]``
    :return: In the scale of the policy's distribution: ``[n, action_dim]`` floats, or ``[n]`` integers for Discrete spaces
    """
    if isinstance(policy.action_space, spaces.Box) and policy.squash_output:
        # Not in float16, which rounds to values that the tanh can't reach.
        actions = policy.scale_action(actions.astype(np.promote_types(actions.dtype, np.float32), copy=False))
    return _as_rows(policy, actions)


def env_to_policy_tensor(policy: BasePolicy, actions: np.ndarray) -> th.Tensor:
    """
    Actions in the environment's scale, as ``policy.evaluate_actions`` takes them.

    :param policy: The policy
    :param actions: ``[n, *action_shape]``
    :return: ``[n, action_dim]``, or ``[n]`` of integers for Discrete spaces
    """
    return th.as_tensor(scale_to_policy(policy, actions), device=policy.device)


def policy_tensor(policy: BasePolicy, actions: np.ndarray) -> th.Tensor:
    """
    Actions in the policy's scale, as buffers keep them, for ``policy.evaluate_actions``.

    :param policy: The policy
    :param actions: ``[n, action_dim]`` or ``[n, *action_shape]``
    :return: ``[n, action_dim]``, or ``[n]`` of integers for Discrete spaces
    """
    return th.as_tensor(_as_rows(policy, actions), device=policy.device)


def _as_rows(policy: BasePolicy, actions: np.ndarray) -> np.ndarray:
    if isinstance(policy.action_space, spaces.Discrete):
        return actions.reshape(-1).astype(np.int64, copy=False)
    return actions.reshape(len(actions), -1).astype(np.float32, copy=False)
