"""Small learners of every algorithm on any environment, shared by the tests that go through all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

import nlf_sb3

ALGORITHMS = ("REINFORCE", "A2C", "PPO", "TRPO", "RecurrentPPO", "MaskablePPO")
NO_BOX = ("MaskablePPO",)
"""Algorithms that take no continuous actions."""

N_STEPS = 12
_MINIBATCHES = {"n_steps": N_STEPS, "batch_size": 8, "n_epochs": 2}
_OWN: dict[str, dict[str, Any]] = {
    "REINFORCE": {"n_episodes": 4},
    "A2C": {"n_steps": N_STEPS},
    "PPO": _MINIBATCHES,
    "TRPO": {"n_steps": N_STEPS, "batch_size": 8, "n_critic_updates": 2, "cg_max_steps": 5},
    "RecurrentPPO": _MINIBATCHES,
    "MaskablePPO": _MINIBATCHES,
}


def policy_name(algorithm: str, observation_space: spaces.Space) -> str:
    """SB3's name of the policy for an observation space."""
    is_image = isinstance(observation_space, spaces.Box) and observation_space.dtype == np.uint8
    kind = "MultiInput" if isinstance(observation_space, spaces.Dict) else "Cnn" if is_image else "Mlp"
    return f"{kind}{'Lstm' if algorithm == 'RecurrentPPO' else ''}Policy"


def learner(algorithm: str, env: VecEnv, *, subclass: Any = None, **kwargs: Any) -> Any:
    """
    :param algorithm: Name of the algorithm
    :param env: The environment
    :param subclass: Made instead of the algorithm's own class
    :param kwargs: Override the defaults here; ``policy_kwargs`` are merged
    """
    policy = policy_name(algorithm, env.observation_space)
    policy_kwargs: dict[str, Any] = {"net_arch": [8]}
    if algorithm == "RecurrentPPO":
        policy_kwargs["lstm_hidden_size"] = 8
    if policy.startswith("Cnn"):
        policy_kwargs["features_extractor_kwargs"] = {"features_dim": 8}
    policy_kwargs |= kwargs.pop("policy_kwargs", {})
    settings = {"seed": 0, "device": "cpu", **_OWN[algorithm], "policy_kwargs": policy_kwargs, **kwargs}
    return (subclass or getattr(nlf_sb3, algorithm))(policy, env, **settings)


def noticing(algorithm: Any, notice: Callable[[Any], None]) -> Any:
    """
    :param algorithm: A class of ours
    :param notice: Gets the model right before each ``train()`` of the original's, with the rollout as that finds it
    :return: A subclass
    """

    class Original(algorithm.__bases__[-1]):
        def train(self) -> None:
            notice(self)
            super().train()

    class Watched(algorithm, Original):
        pass

    return Watched


def terms_of(model: Any) -> list[Any]:
    """The terms of each update from now on that has some."""
    kept: list[Any] = []
    attached = model.feedback.adapter.attached

    def keep_and_attach(terms: Any) -> Any:
        kept.append(terms)
        return attached(terms)

    model.feedback.adapter.attached = keep_and_attach
    return kept


def is_finite(model: Any) -> bool:
    return all(bool(th.isfinite(parameter).all()) for parameter in model.policy.parameters())


def parameters_of(model: Any) -> th.Tensor:
    return th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])
