"""Injected episodes as training rows: returns, advantages, old log-probabilities and weights."""

from __future__ import annotations

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.config import MAX_IMPORTANCE_WEIGHT
from nlf_sb3.densities import in_policy_density
from nlf_sb3.distributions import log_relative_density
from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.objectives.expert_ratios import PolicyLosses, check_likelihoods
from nlf_sb3.objectives.injected_episodes import Bootstrap, MakeRows, Prefix, episode_rows, expert_log_probs
from nlf_sb3.objectives.policy_rows import MinibatchDealer
from nlf_sb3.objectives.row_weights import ExpertWeights, expert_weights
from nlf_sb3.rows import TrajectoryRows
from nlf_sb3.segments import ExpertSegment


def build_injected_rows(
    policy: ActorCriticPolicy,
    env: VecEnv,
    segments: list[tuple[ExpertSegment, Prefix]],
    *,
    make_rows: MakeRows,
    gamma: float,
    agents_advantages: AdvantageScale,
    use_critic: bool,
    bootstrap_at_time_limit: bool,
    bounded: bool,
    weigh: ExpertWeights | None = None,
    with_prefix: bool = True,
) -> TrajectoryRows:
    """
    Turn injected episodes into rows, under the policy that collected the rollout.

    Returns-to-go start from 0 where the episode terminated and from V(s_T) where it was truncated or
    cut. Advantages are G - V(s), mapped as the agent's own are. With ``bounded``, an
    advantage is at most :data:`~nlf_sb3.objectives.advantages.MAX_SCALED_ADVANTAGE` of the agent's standard deviations
    from its mean.

    :param policy: The policy, unchanged since the rollout began
    :param env: The learner's environment; its normalisation statistics are applied and left alone
    :param segments: Injected episodes, each with its prefix
    :param make_rows: Makes rows for the policy
    :param gamma: Discount factor
    :param agents_advantages: The scale of the agent's own advantages
    :param use_critic: Whether V is subtracted, and bootstraps; without it, it counts as 0
    :param bootstrap_at_time_limit: False if returns end at the time limit
    :param bounded: See above
    :param weigh: Weighs the expert's rows; None for the weights of ``row_weight="auto"``
    :param with_prefix: Whether the shared steps are rows too; if not, every episode has one of the expert's
    :return: Rows of all episodes, one after another
    """
    weigh = weigh or expert_weights("auto", MAX_IMPORTANCE_WEIGHT, is_bounded=bounded)
    episodes = [segment for segment, _ in segments]
    policy.set_training_mode(False)
    rows, returns = episode_rows(policy, env, segments, make_rows, gamma, Bootstrap(use_critic, bootstrap_at_time_limit))
    is_experts = np.concatenate([np.arange(len(segment)) >= segment.fork_step for segment in episodes])
    kept = np.arange(len(rows))
    if not with_prefix:
        kept = np.flatnonzero(is_experts)
        rows = rows.subset(kept)
    with th.no_grad():
        values, log_prob, distribution = rows.evaluate_all()
        check_likelihoods(log_prob, rows.actions, lambda row: f"expert segment, row {row}")
        relative = log_relative_density(distribution, log_prob) if weigh.needs_mode else None
    return_tensor = th.as_tensor(returns[kept], dtype=th.float32, device=policy.device)
    advantages = return_tensor - values if use_critic else return_tensor.clone()
    advantages = agents_advantages.as_used(agents_advantages.bounded(advantages) if bounded else advantages)
    is_expert = th.as_tensor(is_experts[kept], device=policy.device)
    experts = in_policy_density(policy, expert_log_probs(episodes)[kept]) if weigh.needs_expert else None
    weights = weigh(advantages, is_expert, log_prob=log_prob, expert_log_prob=experts, log_relative=relative)
    return TrajectoryRows(rows, log_prob, advantages, return_tensor, weights)


class InjectionTerm:
    """
    The loss of a minibatch's share of a rollout's injected rows.

    :param rows: All injected rows
    :param policy_losses: The algorithm's own policy loss, row by row
    :param n_rows: N, rows of the rollout
    :param coef: Weight of the mean over all injected rows; None counts each of them as one of the agent's N
    :param vf_coef: Weight of the mean of all injected rows' squared value errors, whatever ``coef`` is
    :param rng: Shuffles the rows
    """

    def __init__(
        self,
        rows: TrajectoryRows,
        policy_losses: PolicyLosses,
        *,
        n_rows: int,
        coef: float | None,
        vf_coef: float,
        rng: np.random.Generator,
    ) -> None:
        self._rows = rows
        self._policy_losses = policy_losses
        self._share = MinibatchDealer(rows.rows, n_rows, rng)
        self._n_rows = n_rows
        self._row_weight = 1.0 / n_rows if coef is None else coef / len(rows)
        self._value_weight = vf_coef / len(rows)

    def __call__(self, n_batch_rows: int) -> tuple[th.Tensor, th.Tensor]:
        """
        :param n_batch_rows: B, rows of the minibatch
        :return: The injected rows' policy loss and value loss, scalars
        """
        return self._loss_of(self._share.next(n_batch_rows), self._n_rows / n_batch_rows)

    def loss_of_all(self) -> tuple[th.Tensor, th.Tensor]:
        """
        :return: The policy loss and value loss of all injected rows, scalars
        """
        return self._loss_of(np.arange(len(self._rows)), 1.0)

    def _loss_of(self, chosen: np.ndarray, scale: float) -> tuple[th.Tensor, th.Tensor]:
        rows = self._rows
        if not len(chosen):  # more minibatches than rows
            nothing = rows.advantages.new_zeros(())
            return nothing, nothing
        values, log_prob, _ = rows.rows.evaluate(chosen)
        losses = self._policy_losses(log_prob, rows.old_log_prob[chosen], rows.advantages[chosen])
        policy_loss = (rows.weights[chosen] * losses).sum() * self._row_weight * scale
        value_loss = ((values - rows.returns[chosen]) ** 2).sum() * self._value_weight * scale
        return policy_loss, value_loss
