"""Injected episodes as training rows: returns, advantages, old log-probabilities and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.advantages import AdvantageScale, shaping_weights
from nlf_sb3.algorithms.imitation import raw_policy_actions, to_policy_actions
from nlf_sb3.algorithms.rows import InjectedRows, PolicyRows, RowShare, observations_as_rows
from nlf_sb3.algorithms.vec_envs import episode_to_policy_observations, to_policy_rewards
from nlf_sb3.distributions import log_relative_density
from nlf_sb3.errors import FeedbackError
from nlf_sb3.returns import discounted_returns
from nlf_sb3.segments import ExpertSegment, append_row

PolicyLosses = Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]
"""Maps log-probabilities, old log-probabilities and advantages, each ``[k]``, to losses ``[k]``."""
MakeRows = Callable[[Any, th.Tensor, np.ndarray, "np.ndarray | None"], PolicyRows]
"""Maps observations and actions in the policy's scale, episode starts and action masks (or None) to rows."""
Prefix = list[np.ndarray]
"""The shared steps' actions, as the policy proposed them."""


class _Bootstrap(NamedTuple):
    has_critic: bool
    at_time_limit: bool


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
) -> InjectedRows:
    """
    Turn injected episodes into rows, under the policy that collected the rollout.

    Returns-to-go start from 0 where the episode terminated and from V(s_T) where it was truncated or
    cut. Advantages are G - V(s), mapped as the agent's own are. With ``bounded``, an
    advantage is at most :data:`~nlf_sb3.algorithms.advantages.MAX_SCALED_ADVANTAGE` of the agent's standard deviations
    from its mean, and the expert's rows that did badly count by :func:`~nlf_sb3.algorithms.advantages.shaping_weights`.

    :param policy: The policy, unchanged since the rollout began
    :param env: The learner's environment; its normalisation statistics are applied and left alone
    :param segments: Injected episodes, each with its prefix
    :param make_rows: Makes rows for the policy
    :param gamma: Discount factor
    :param agents_advantages: The scale of the agent's own advantages
    :param use_critic: Whether V is subtracted, and bootstraps; without it, it counts as 0
    :param bootstrap_at_time_limit: False if returns end at the time limit
    :param bounded: See above
    :return: Rows of all episodes, one after another
    """
    episodes = [segment for segment, _ in segments]
    policy.set_training_mode(False)
    # With the last observation, since stacked frames reach back into the episode.
    observed = [
        episode_to_policy_observations(env, append_row(segment.observations, segment.last_observation)) for segment in episodes
    ]
    rows = make_rows(
        observations_as_rows(policy, _concatenate([_rows(observations, slice(-1)) for observations in observed])),
        th.cat([_policy_actions(policy, segment, prefix) for segment, prefix in segments]),
        np.concatenate([np.arange(len(segment)) == 0 for segment in episodes]),
        _action_masks(episodes),
    )
    with th.no_grad():
        values, log_prob, distribution = rows.evaluate_all()
        relative = log_relative_density(distribution, log_prob) if bounded else None
    bootstrap = _Bootstrap(use_critic, bootstrap_at_time_limit)
    last_rows = np.cumsum([len(segment) for segment in episodes]) - 1
    returns = []
    for segment, observations, last_row in zip(episodes, observed, last_rows, strict=True):
        last_value = 0.0
        if _goes_on(segment, bootstrap):
            last = observations_as_rows(policy, _rows(observations, slice(-1, None)))
            last_value = rows.value_after(int(last_row), last)
        returns.append(discounted_returns(to_policy_rewards(env, segment.rewards), gamma, last_value))
    return_tensor = th.as_tensor(np.concatenate(returns), dtype=th.float32, device=policy.device)
    advantages = return_tensor - values if use_critic else return_tensor.clone()
    is_expert = th.cat([th.arange(len(segment)) >= segment.fork_step for segment in episodes]).to(policy.device)
    advantages = agents_advantages.as_used(agents_advantages.bounded(advantages) if bounded else advantages)
    weights = th.ones_like(advantages) if relative is None else shaping_weights(advantages, relative, is_expert)
    return InjectedRows(rows, log_prob, advantages, return_tensor, weights)


class InjectionTerm:
    """
    What a minibatch adds for its share of a rollout's injected rows.

    :param rows: All injected rows
    :param policy_losses: The algorithm's own policy loss, row by row
    :param n_rows: N, rows of the rollout
    :param coef: Weight of the mean over all injected rows; None counts each of them as one of the agent's N
    :param vf_coef: Weight of the mean of all injected rows' squared value errors, whatever ``coef`` is
    :param rng: Shuffles the rows
    """

    def __init__(
        self,
        rows: InjectedRows,
        policy_losses: PolicyLosses,
        *,
        n_rows: int,
        coef: float | None,
        vf_coef: float,
        rng: np.random.Generator,
    ) -> None:
        self._rows = rows
        self._policy_losses = policy_losses
        self._share = RowShare(rows.rows, n_rows, rng)
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


def _policy_actions(policy: ActorCriticPolicy, segment: ExpertSegment, prefix: Prefix) -> th.Tensor:
    """One episode's actions as the policy proposes them."""
    expert_actions = to_policy_actions(policy, segment.actions[segment.fork_step :])
    # The environment saw the prefix clipped; the log-probability belongs to what the policy proposed.
    return th.cat([raw_policy_actions(policy, np.stack(prefix)), expert_actions]) if prefix else expert_actions


def _action_masks(segments: list[ExpertSegment]) -> np.ndarray | None:
    masks = [segment.action_masks for segment in segments if segment.action_masks is not None]
    return np.concatenate(masks) if len(masks) == len(segments) else None


def _goes_on(segment: ExpertSegment, bootstrap: _Bootstrap) -> bool:
    """Whether the return after the last step is V's to say."""
    is_cut = not (segment.terminated or segment.truncated)
    if is_cut and not bootstrap.has_critic:
        raise FeedbackError(
            "an injected episode was cut by max_segment_steps, and there is no value function for what would have come. "
            "Pass baseline=True, or leave max_segment_steps away."
        )
    at_time_limit = segment.truncated and not segment.terminated
    return is_cut or (at_time_limit and bootstrap.has_critic and bootstrap.at_time_limit)


def _rows(observations: Any, chosen: slice) -> Any:
    if isinstance(observations, dict):
        return {key: value[chosen] for key, value in observations.items()}
    return observations[chosen]


def _concatenate(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {key: np.concatenate([part[key] for part in observations]) for key in observations[0]}
    return np.concatenate(observations)
