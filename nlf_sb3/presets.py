"""Named sets of arguments: the paper's protocol, and what learns fastest from feedback."""

from __future__ import annotations

from typing import Any

import torch as th


def paper(algorithm: str = "REINFORCE") -> dict[str, Any]:
    """
    The protocol that the claims of 1.5x and 2x were made with.

    An MLP of 16 and 32 tanh units with a state-dependent softplus standard deviation and PyTorch's
    own initialisation; AdamW; one episode an update; raw returns, summed; no baseline, no clipping;
    returns end at the time limit; alpha 0.5; injected episodes in an optimiser step of their own.

    :param algorithm: ``"REINFORCE"``
    :return: Keyword arguments, ``policy`` among them
    :raises ValueError: For any other algorithm
    """
    if algorithm != "REINFORCE":
        raise ValueError(f"The paper's protocol is REINFORCE's, not {algorithm}'s. Use presets.feedback({algorithm!r}).")
    return {
        "policy": "SoftplusGaussianPolicy",
        "learning_rate": 1e-4,
        "n_episodes": 1,
        "gamma": 0.99,
        "normalize_returns": False,
        "baseline": False,
        "time_limit": "horizon",
        "loss_reduction": "sum",
        "max_grad_norm": None,
        "alpha": 0.5,
        "imitation": "nll",
        "injection": "separate",
        "policy_kwargs": {
            "net_arch": [16, 32],
            "ortho_init": False,
            "optimizer_class": th.optim.AdamW,
        },
    }


def feedback(algorithm: str = "PPO") -> dict[str, Any]:
    """
    What learns fast from feedback: normalised returns or advantages, and larger steps than the defaults'.

    Measured on InvertedPendulum-v5; the README's figures of the protocol ``feedback`` are REINFORCE's
    with this preset.

    :param algorithm: Name of an algorithm of this package
    :return: Keyword arguments, ``policy`` among them
    :raises ValueError: For any other algorithm
    """
    shared: dict[str, Any] = {"policy": "MlpPolicy", "alpha": 0.5, "imitation": "nll", "injection": "bounded"}
    ppo: dict[str, Any] = {"learning_rate": 3e-3, "n_steps": 128, "batch_size": 64, "n_epochs": 10}
    own: dict[str, dict[str, Any]] = {
        "REINFORCE": {"learning_rate": 5e-3, "n_episodes": 4, "batch_size": 1, "normalize_returns": True},
        "A2C": {"learning_rate": 3e-3, "n_steps": 32, "normalize_advantage": True, "use_rms_prop": False},
        "PPO": ppo,
        "MaskablePPO": ppo,
        "TRPO": {"learning_rate": 3e-3, "n_steps": 128, "target_kl": 0.05},
        "RecurrentPPO": {**ppo, "policy": "MlpLstmPolicy", "learning_rate": 1e-3},
    }
    if algorithm not in own:
        raise ValueError(f"algorithm: got {algorithm!r}, expected one of {', '.join(own)}.")
    return {**shared, **own[algorithm]}
