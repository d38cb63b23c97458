"""The networks of sb3-contrib's policies and PPO's loss by hand, from their layers: what an update is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from contrib_helpers import masks_of
from helpers import batches_of


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


class MaskedNetwork:
    """Outputs of a MaskablePPO policy on rows of a rollout."""

    def __init__(self, model, rollouts):
        self.rollout = rollouts[-1]
        self.model = model

    def batches(self):
        return batches_of(self.model, self.rollout)

    def __call__(self, rows):
        policy, observations = self.rollout.policy, self.rollout.observations[rows]
        latent = policy.mlp_extractor.forward_actor(observations)
        values = policy.value_net(policy.mlp_extractor.forward_critic(observations)).flatten()
        return values, head(policy, latent, masks_of(observations))


class RecurrentNetwork:
    """Outputs of a RecurrentPPO policy: each unbroken part of an episode from the state that the rollout had there."""

    def __init__(self, model, rollouts):
        self.rollout, self.model = rollouts[-1], model
        self.states = states_of_rollouts(rollouts, model.n_envs)

    def batches(self):
        """For each epoch sb3-contrib draws one row to begin with; the others follow in their order."""
        generator = np.random.RandomState()
        generator.set_state(self.rollout.numpy_state)
        batches = []
        for _ in range(self.model.n_epochs):
            order = np.roll(np.arange(len(self.rollout)), -generator.randint(len(self.rollout)))
            size = self.model.batch_size
            batches += [order[start : start + size] for start in range(0, len(order), size)]
        return batches

    def __call__(self, rows):
        policy, parts = self.rollout.policy, []
        begins = self.rollout.starts[rows] | (rows % self.model.n_steps == 0)
        begins[0] = True
        for part in np.split(rows, np.flatnonzero(begins)[1:]):
            state = zero_state(policy) if self.rollout.starts[part[0]] else self.states[part[0]]
            parts.append(follow(policy, self.rollout.observations[part], state)[:2])
        latent, values = (th.cat(column) for column in zip(*parts, strict=True))
        return values, head(policy, latent)


def network(model, rollouts):
    return (RecurrentNetwork if hasattr(rollouts[-1].policy, "lstm_actor") else MaskedNetwork)(model, rollouts)


def ppo_terms(model, rollout, rows, values, distribution):
    """PPO's policy loss, and its entropy and value terms with their coefficients."""
    advantages = rollout.advantages[rows]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = th.exp(log_prob_of(distribution, rollout.actions[rows]) - rollout.old_log_prob[rows])
    policy_loss = -th.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean()
    entropy = distribution.entropy()
    entropy = entropy.sum(dim=1) if entropy.dim() > 1 else entropy
    value_loss = ((values - rollout.returns[rows]) ** 2).mean()
    return policy_loss, model.vf_coef * value_loss - model.ent_coef * entropy.mean()
