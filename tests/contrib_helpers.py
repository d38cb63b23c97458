"""A small environment with action masks, its expert, and tiny settings of sb3-contrib's algorithms, shared by their tests."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from helpers import EXPERTS, Capture, ToyEnv, discrete_expert, teacher
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import FeedbackWrapper

LSTM = {"net_arch": [8], "lstm_hidden_size": 8}


def masks_of(observations: Any) -> np.ndarray:
    """What :class:`MaskedToy` allows, by its observations: choice 1 always, 0 and 2 not everywhere. ``[n, 3]``."""
    third = np.asarray(observations)[:, 2]
    return np.stack([third < 0.3, np.ones_like(third, dtype=bool), third > -0.3], axis=1)


def masked_expert(observations: np.ndarray) -> np.ndarray:
    """``discrete_expert`` where :class:`MaskedToy` allows it, else the choice that is always allowed."""
    wished = discrete_expert(observations)
    return np.where(masks_of(observations)[np.arange(len(wished)), wished], wished, 1)


class MaskedToy(ToyEnv):
    """A :class:`ToyEnv` with masks. With ``is_strict``, a forbidden action is an error."""

    def __init__(self, *args: Any, is_strict: bool = False, **kwargs: Any):
        super().__init__("discrete", *args, **kwargs)
        self.is_strict = is_strict

    def action_masks(self) -> np.ndarray:
        return masks_of(self.state.astype(np.float32)[None])[0]

    def step(self, action: Any):
        assert not self.is_strict or self.action_masks()[action], "the environment got an action that its mask forbids"
        return super().step(action)


gym.register("NLFToyMasked-v0", MaskedToy, kwargs={"is_strict": True})

ALL_EXPERTS = {**EXPERTS, "masked": masked_expert}


def toy(action: str, **kwargs: Any) -> gym.Env:
    """
    :param action: "box", "discrete" or "masked"
    :param kwargs: As in ToyEnv
    """
    return MaskedToy(is_strict=True, **kwargs) if action == "masked" else ToyEnv(action, **kwargs)


def vec_env(action: str, n_envs: int = 2, **labels: Any) -> DummyVecEnv:
    """Toy environments; with keyword arguments, each with a teacher."""

    def one() -> gym.Env:
        env = toy(action)
        return FeedbackWrapper(env, teacher(ALL_EXPERTS[action], **labels)) if labels else env

    return DummyVecEnv([one] * n_envs)


def make(algorithm: str, env: Any, package: Any = nlf_sb3.algorithms, **kwargs: Any) -> Any:
    """A model of ours, or of ``package``'s, with a tiny network."""
    policy = "MlpLstmPolicy" if algorithm == "RecurrentPPO" else "MlpPolicy"
    network = LSTM if algorithm == "RecurrentPPO" else {"net_arch": [8]}
    own = {} if algorithm == "TRPO" else {"n_epochs": 2}
    settings = {"n_steps": 16, "batch_size": 8, "seed": 1, "device": "cpu", **own, **kwargs}
    settings["policy_kwargs"] = {**network, **kwargs.get("policy_kwargs", {})}
    return getattr(package, algorithm)(policy, env, **settings)


SGD = {"optimizer_class": th.optim.SGD}
"""The step of Adam hardly depends on the gradient's size, and would hide a wrong scale."""


# --- the networks by hand ----------------------------------------------------------------------------


class ContribCapture(Capture):
    """Besides rollouts, which rows started an episode (flat), and the learner's own generator before the update."""

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        rollout: Any = self.rollouts[-1]
        rollout.starts = self.model.rollout_buffer.episode_starts.T.flatten().astype(bool)
        rollout.feedback_rng = copy.deepcopy(self.model._feedback_rng)


def learn(model: Any, n_rollouts: int = 1, **kwargs: Any) -> list[Any]:
    """Train on n rollouts; returns them as they were before their updates."""
    capture = ContribCapture()
    model.learn(model.n_steps * model.n_envs * n_rollouts, callback=capture, **kwargs)
    assert len(capture.rollouts) == n_rollouts
    return capture.rollouts


def head(policy: Any, latent: th.Tensor, masks: np.ndarray | None = None) -> Any:
    """The policy's distribution as torch's own, from the actor's last layer."""
    output = policy.action_net(latent)
    if hasattr(policy, "log_std"):
        return th.distributions.Normal(output, policy.log_std.exp().expand_as(output))
    return th.distributions.Categorical(
        logits=output if masks is None else output.masked_fill(~th.as_tensor(masks), -1e8), validate_args=False
    )


def log_prob_of(distribution: Any, actions: Any, *, fixed_std: bool = False) -> th.Tensor:
    """log pi(a|s), ``[n]``; with ``fixed_std`` it gives a Gaussian's standard deviation no gradient."""
    if isinstance(distribution, th.distributions.Categorical):
        return distribution.log_prob(th.as_tensor(actions).long().flatten())
    scale = distribution.scale.detach() if fixed_std else distribution.scale
    return th.distributions.Normal(distribution.loc, scale).log_prob(th.as_tensor(actions).float()).sum(dim=1)


def zero_state(policy: Any) -> Any:
    """Hidden and cell state of actor and critic, ``[layers, 1, hidden size]`` each, where an episode starts."""
    return tuple(tuple(th.zeros(policy.lstm_hidden_state_shape) for _ in range(2)) for _ in range(2))


def follow(policy: Any, observations: th.Tensor, state: Any) -> tuple[th.Tensor, th.Tensor, Any]:
    """
    Run a recurrent policy's own networks along one sequence.

    :return: The actor's last latent ``[T, latent]``, values ``[T]``, and the state after the sequence
    """
    sequence = observations.unsqueeze(1)
    latent_pi, pi = policy.lstm_actor(sequence, state[0])
    latent_vf, vf = (latent_pi.detach(), pi) if policy.shared_lstm else (None, state[1])
    if policy.lstm_critic is not None:
        latent_vf, vf = policy.lstm_critic(sequence, state[1])
    elif not policy.shared_lstm:
        latent_vf = policy.critic(sequence)
    values = policy.value_net(policy.mlp_extractor.forward_critic(latent_vf[:, 0]))
    return policy.mlp_extractor.forward_actor(latent_pi[:, 0]), values.flatten(), (pi, vf)


def states_along(policy: Any, observations: th.Tensor, starts: Any, state: Any) -> tuple[list[Any], Any]:
    """Step by step: the state before each row of one environment, and the state after the last."""
    before = []
    with th.no_grad():
        for observation, start in zip(observations, starts, strict=True):
            state = zero_state(policy) if start else state
            before.append(state)
            *_, state = follow(policy, observation[None], state)
    return before, state


def states_of_rollouts(rollouts: list[Any], n_envs: int) -> list[Any]:
    """The state before each row of the last of some rollouts, which follow one another, in flat order."""
    carried = [zero_state(rollouts[0].policy)] * n_envs
    for rollout in rollouts:
        n_steps = len(rollout) // n_envs
        before = []
        for env in range(n_envs):
            rows = slice(env * n_steps, (env + 1) * n_steps)
            states, carried[env] = states_along(rollout.policy, rollout.observations[rows], rollout.starts[rows], carried[env])
            before += states
    return before
