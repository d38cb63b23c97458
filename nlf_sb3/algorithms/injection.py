"""Injected episodes as training rows: returns, advantages, old log-probabilities and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.imitation import EvaluateActions, raw_policy_actions, to_policy_actions
from nlf_sb3.algorithms.rows import InjectedRows, RowShare, index_observations
from nlf_sb3.algorithms.vec_envs import to_policy_observations, to_policy_rewards
from nlf_sb3.distributions import log_relative_density
from nlf_sb3.errors import FeedbackError
from nlf_sb3.losses import policy_shaping_weight
from nlf_sb3.segments import ExpertSegment, discounted_returns

MAX_SCALED_ADVANTAGE = 5.0
"""How far an injected row's advantage may lie from the agent's mean, in its standard deviations, if ``"bounded"``."""

PolicyLosses = Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]
"""Maps log-probabilities, old log-probabilities and advantages, each ``[k]``, to losses ``[k]``."""


class AdvantageScale(NamedTuple):
    """
    Mean and standard deviation of the agent's advantages in a rollout, and whether it normalises by them.
    """

    mean: float
    std: float
    normalises: bool

    @property
    def safe_std(self) -> float:
        """The standard deviation, or 1 where there is none: a rollout without any reward has no scale to share."""
        return self.std if self.std > 1e-6 else 1.0


class _Bootstrap(NamedTuple):
    has_critic: bool
    at_time_limit: bool


def build_injected_rows(
    policy: ActorCriticPolicy,
    env: VecEnv,
    segments: list[tuple[ExpertSegment, list[np.ndarray]]],
    *,
    gamma: float,
    agents_advantages: AdvantageScale,
    use_critic: bool,
    bootstrap_at_time_limit: bool,
    bounded: bool,
) -> InjectedRows:
    """
    Turn injected episodes into rows, under the policy that collected the rollout.

    Returns-to-go start from 0 where the episode terminated and from V(s_T) where it was truncated or
    cut. Advantages are G - V(s), mapped as the agent's own are. With ``bounded``, an
    advantage is at most :data:`MAX_SCALED_ADVANTAGE` of the agent's standard deviations from its mean, and the expert's
    rows that did badly count by
    :func:`~nlf_sb3.losses.policy_shaping_weight`: the gradient of log pi grows without end as pi
    vanishes, and PPO's clip doesn't hold it where the advantage is negative.

    :param policy: The policy, unchanged since the rollout began
    :param env: The learner's environment; its normalisation statistics are applied and left alone
    :param segments: Injected episodes, each with the prefix's actions as the policy proposed them
    :param gamma: Discount factor
    :param agents_advantages: The scale of the agent's own advantages
    :param use_critic: Whether V is subtracted, and bootstraps; without it, it counts as 0
    :param bootstrap_at_time_limit: False if returns end at the time limit
    :param bounded: See above
    :return: Rows of all episodes, one after another
    """
    parts = [_policy_scale(policy, env, segment, prefix) for segment, prefix in segments]
    observations = _concatenate([observation for observation, _ in parts])
    actions = th.cat([action for _, action in parts])
    policy.set_training_mode(False)
    with th.no_grad():
        obs_tensor, _ = policy.obs_to_tensor(observations)  # type: ignore[arg-type]
        values, log_prob, _ = policy.evaluate_actions(obs_tensor, actions)
        relative = log_relative_density(policy.action_dist, log_prob) if bounded else None
    bootstrap = _Bootstrap(use_critic, bootstrap_at_time_limit)
    returns = np.concatenate([_returns(policy, env, segment, gamma, bootstrap) for segment, _ in segments])
    return_tensor = th.as_tensor(returns, dtype=th.float32, device=policy.device)
    advantages = return_tensor - values.flatten() if use_critic else return_tensor.clone()
    advantages = _on_agents_scale(advantages, agents_advantages, bounded)
    weights = th.ones_like(advantages)
    if relative is not None:
        is_expert = th.cat([th.arange(len(segment)) >= segment.fork_step for segment, _ in segments]).to(policy.device)
        weights = th.where((advantages < 0) & is_expert, policy_shaping_weight(relative), weights)
    return InjectedRows(obs_tensor, actions, log_prob, advantages, return_tensor, weights)


class InjectionTerm:
    """
    What a minibatch adds for its share of a rollout's injected rows.

    :param rows: All injected rows
    :param evaluate_actions: The policy's forward pass
    :param policy_losses: The algorithm's own policy loss, row by row
    :param n_rows: N, rows of the rollout
    :param coef: Weight of the mean over all injected rows; None counts each of them as one of the agent's N
    :param vf_coef: Weight of the injected rows' squared value errors
    :param rng: Shuffles the rows
    """

    def __init__(
        self,
        rows: InjectedRows,
        evaluate_actions: EvaluateActions,
        policy_losses: PolicyLosses,
        *,
        n_rows: int,
        coef: float | None,
        vf_coef: float,
        rng: np.random.Generator,
    ) -> None:
        self._rows = rows
        self._evaluate_actions = evaluate_actions
        self._policy_losses = policy_losses
        self._share = RowShare(len(rows), n_rows, rng)
        self._n_rows = n_rows
        self._row_weight = 1.0 / n_rows if coef is None else coef / len(rows)
        self._vf_coef = vf_coef

    def __call__(self, n_batch_rows: int) -> tuple[th.Tensor, th.Tensor]:
        """
        :param n_batch_rows: B, rows of the minibatch
        :return: The injected rows' policy loss and value loss, scalars
        """
        return self._loss_of(self._share.next(n_batch_rows), self._row_weight * self._n_rows / n_batch_rows)

    def loss_of_all(self, row_weight: float) -> tuple[th.Tensor, th.Tensor]:
        """
        :param row_weight: Weight of each row
        :return: The policy loss and value loss of all injected rows, scalars
        """
        return self._loss_of(th.arange(len(self._rows)), row_weight)

    def _loss_of(self, chosen: th.Tensor, row_weight: float) -> tuple[th.Tensor, th.Tensor]:
        rows = self._rows
        if not len(chosen):  # more minibatches than rows
            nothing = rows.advantages.new_zeros(())
            return nothing, nothing
        values, log_prob, _ = self._evaluate_actions(index_observations(rows.observations, chosen), rows.actions[chosen])
        losses = self._policy_losses(log_prob, rows.old_log_prob[chosen], rows.advantages[chosen])
        policy_loss = (rows.weights[chosen] * losses).sum() * row_weight
        value_loss = ((values.flatten() - rows.returns[chosen]) ** 2).sum() * row_weight * self._vf_coef
        return policy_loss, value_loss


def _policy_scale(
    policy: ActorCriticPolicy, env: VecEnv, segment: ExpertSegment, prefix: list[np.ndarray]
) -> tuple[Any, th.Tensor]:
    """One episode's observations and actions as the policy gets and proposes them."""
    expert_actions = to_policy_actions(policy, segment.actions[segment.fork_step :])
    # The environment saw the prefix clipped; the log-probability belongs to what the policy proposed.
    actions = [raw_policy_actions(policy, np.stack(prefix))] if prefix else []
    return to_policy_observations(env, segment.observations), th.cat([*actions, expert_actions])


def _on_agents_scale(advantages: th.Tensor, scale: AdvantageScale, bounded: bool) -> th.Tensor:
    """Map advantages as the agent's own were; with ``bounded``, keep them near the agent's mean."""
    if bounded:
        reach = MAX_SCALED_ADVANTAGE * scale.safe_std
        advantages = advantages.clamp(scale.mean - reach, scale.mean + reach)
    return (advantages - scale.mean) / (scale.safe_std + 1e-8) if scale.normalises else advantages


def _returns(
    policy: ActorCriticPolicy, env: VecEnv, segment: ExpertSegment, gamma: float, bootstrap: _Bootstrap
) -> np.ndarray:
    is_cut = not (segment.terminated or segment.truncated)
    if is_cut and not bootstrap.has_critic:
        raise FeedbackError(
            "an injected episode was cut by max_segment_steps, and there is no value function for what would have come. "
            "Pass baseline=True, or leave max_segment_steps away."
        )
    at_time_limit = segment.truncated and not segment.terminated
    goes_on = is_cut or (at_time_limit and bootstrap.has_critic and bootstrap.at_time_limit)
    last_value = _last_value(policy, env, segment) if goes_on else 0.0
    return discounted_returns(to_policy_rewards(env, segment.rewards), gamma, last_value)


def _last_value(policy: ActorCriticPolicy, env: VecEnv, segment: ExpertSegment) -> float:
    last = segment.last_observation
    batch = {key: value[None] for key, value in last.items()} if isinstance(last, dict) else last[None]
    with th.no_grad():
        tensor, _ = policy.obs_to_tensor(to_policy_observations(env, batch))  # type: ignore[arg-type]
        return float(policy.predict_values(tensor))


def _concatenate(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {key: np.concatenate([part[key] for part in observations]) for key in observations[0]}
    return np.concatenate(observations)
