"""Fit a model's critic to the policy that it has, and leave the actor exactly as it is."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn
from torch.nn import functional

from nlf_sb3.buffers import EpisodeBuffer
from nlf_sb3.buffers.resizing import resize_rollout_buffer
from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.observations import index_observations
from nlf_sb3.seeding import derived_generator

CRITIC_STEPS = 20_480
"""Environment steps of a warm-up by default: ten of PPO's default rollouts."""
_MIN_ROLLOUT = 2_048
"""Rows that a rollout of a longer warm-up has at least, so that returns reach further than A2C's 5 steps."""


def warm_up_critic(
    model: OnPolicyAlgorithm,
    total_timesteps: int = CRITIC_STEPS,
    *,
    learning_rate: float = 3e-3,
    n_epochs: int = 10,
    batch_size: int = 64,
    seed: int | None = None,
    progress_bar: bool = False,
) -> None:
    """
    Let a model collect rollouts by its own ``learn``, and train only its critic on their returns.

    Trained are the parameters that values depend on and actions don't: with a shared features extractor the critic's own
    layers. The actor's outputs stay the same bit for bit; VecNormalize's statistics of observations stand still, those of
    rewards move. Returns are Monte Carlo's (GAE's with lambda = 1), bootstrapped where SB3 does: at time limits and at a
    rollout's end.

    The steps count in ``model.num_timesteps`` until the next ``learn`` starts counting anew. Logged under
    ``warm_start/``: ``critic_loss`` and ``explained_variance``, the latter of values before they were trained on a rollout.

    :param model: An on-policy model with a critic and an environment
    :param total_timesteps: Environment steps, rounded up to whole rollouts
    :param learning_rate: Adam's, for this alone: ten times PPO's, since values start far from the returns
    :param n_epochs: Passes through each rollout
    :param batch_size: Rows in an optimiser step
    :param seed: Orders the rows; None for the model's own seed
    :param progress_bar: Show SB3's
    :raises FeedbackError: If the model has no critic
    """
    if not has_critic(model):
        raise FeedbackError(f"warm_up_critic: this {type(model).__name__} has no critic. For REINFORCE, set baseline=True.")
    parameters = critic_parameters(model)
    optimizer = th.optim.Adam(parameters, lr=learning_rate)
    rng = derived_generator(model.seed if seed is None else seed, "critic warm-up")

    def train() -> None:
        model.policy.set_training_mode(False)  # neither dropout nor batch statistics: they are the actor's too
        losses = []
        rollout = next(iter(model.rollout_buffer.get(None)))
        for _ in range(n_epochs):
            order = rng.permutation(len(rollout.returns))
            for start in range(0, len(order), batch_size):
                rows = th.as_tensor(order[start : start + batch_size], device=model.device)
                values = model.policy.predict_values(index_observations(rollout.observations, rows)).flatten()  # type: ignore[operator]
                loss = functional.mse_loss(values, rollout.returns[rows])
                gradients = th.autograd.grad(loss, parameters)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
                losses.append(loss.item())
        before, returns = rollout.old_values.cpu().numpy(), rollout.returns.cpu().numpy()
        model.logger.record("warm_start/critic_loss", float(np.mean(losses)))
        model.logger.record("warm_start/explained_variance", explained_variance(before, returns))

    rollout_rows = min(_MIN_ROLLOUT, total_timesteps)
    with _trains_by(model, train), _long_rollouts(model, rollout_rows), _still_observations(model.get_vec_normalize_env()):
        model.learn(total_timesteps, tb_log_name="warm_start", progress_bar=progress_bar, **_masking(model))
    for parameter in parameters:
        parameter.grad = None


def has_critic(model: OnPolicyAlgorithm) -> bool:
    """Whether a model learns values (this package's REINFORCE does so only with ``baseline=True``)."""
    return bool(getattr(model, "baseline", True))


def critic_parameters(model: OnPolicyAlgorithm) -> list[nn.Parameter]:
    """
    The parameters that a policy's values depend on and its actions don't, found by differentiating both.

    :param model: The model
    :return: The critic's own parameters
    """
    policy: Any = model.policy
    policy.set_training_mode(False)
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    space = copy.deepcopy(model.observation_space)  # sampling draws from the space's own generator
    observations, _ = policy.obs_to_tensor(space.sample())
    values = policy.predict_values(observations)
    distribution = policy.get_distribution(observations)
    log_prob = distribution.log_prob(distribution.get_actions(deterministic=True))
    of_values = th.autograd.grad(values.sum(), parameters, allow_unused=True)
    of_actions = th.autograd.grad(log_prob.sum(), parameters, allow_unused=True)
    pairs = zip(parameters, of_values, of_actions, strict=True)
    return [parameter for parameter, value, action in pairs if value is not None and action is None]


@contextlib.contextmanager
def _trains_by(model: Any, train: Any) -> Iterator[None]:
    """While active, ``learn`` collects as ever and trains by this function."""
    model.train = train
    try:
        yield
    finally:
        del model.train


@contextlib.contextmanager
def _long_rollouts(model: Any, n_rows: int) -> Iterator[None]:
    """While active, rollouts of step-counting algorithms have at least so many rows, and Monte-Carlo returns."""
    buffer = model.rollout_buffer
    if isinstance(buffer, EpisodeBuffer):
        yield  # its returns are Monte Carlo's already, and its size its own
        return
    before = model.n_steps, buffer.gae_lambda
    model.n_steps = max(model.n_steps, -(-n_rows // model.n_envs))
    buffer.gae_lambda = 1.0
    resize_rollout_buffer(buffer, model.n_steps)
    try:
        yield
    finally:
        model.n_steps, buffer.gae_lambda = before
        resize_rollout_buffer(buffer, model.n_steps)


def _masking(model: Any) -> dict[str, Any]:
    """MaskablePPO's ``learn`` asks for masks, and refuses environments without."""
    if "use_masking" not in inspect.signature(model.learn).parameters:
        return {}
    utils = require("sb3_contrib.common.maskable.utils", "contrib", "MaskablePPO")
    return {"use_masking": utils.is_masking_supported(model.env)}


class _Still(RunningMeanStd):
    """Statistics that don't move."""

    def update(self, arr: np.ndarray) -> None:
        """:param arr: Not used"""


@contextlib.contextmanager
def _still_observations(vec_normalize: VecNormalize | None) -> Iterator[None]:
    """While active, the statistics of observations stand still and those of rewards move."""
    if vec_normalize is None or not vec_normalize.norm_obs:
        yield
        return
    moving: Any = vec_normalize.obs_rms
    still = copy.deepcopy(moving)
    for statistics in still.values() if isinstance(still, dict) else [still]:
        statistics.__class__ = _Still
    vec_normalize.obs_rms = still
    try:
        yield
    finally:
        vec_normalize.obs_rms = moving
