"""Injected episodes as rows of the policy's: observations, actions, returns-to-go and the expert's log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.action_scales import env_to_policy_tensor, policy_tensor
from nlf_sb3.errors import FeedbackError
from nlf_sb3.objectives.policy_rows import PolicyRows, observations_as_rows
from nlf_sb3.objectives.row_weights import check_expert_log_probs
from nlf_sb3.observations import append_observation, as_arrays, index_observations, join_observations
from nlf_sb3.returns import discounted_returns
from nlf_sb3.rows import LabelledRows
from nlf_sb3.segments import ExpertSegment, rows_from
from nlf_sb3.vec_envs import episode_to_policy_observations, to_policy_rewards

MakeRows = Callable[[Any, th.Tensor, np.ndarray, "np.ndarray | None"], PolicyRows]
"""Maps observations and actions in the policy's scale, episode starts and action masks (or None) to rows."""
Prefix = list[np.ndarray]
"""The shared steps' actions, as the policy proposed them."""


class Bootstrap(NamedTuple):
    """
    The value that a return starts from where its episode was truncated or cut.

    :param has_critic: Whether there is a value function
    :param at_time_limit: Whether it is asked at a time limit too
    """

    has_critic: bool
    at_time_limit: bool


def episode_rows(
    policy: ActorCriticPolicy,
    env: VecEnv,
    segments: list[tuple[ExpertSegment, Prefix]],
    make_rows: MakeRows,
    gamma: float,
    bootstrap: Bootstrap,
) -> tuple[PolicyRows, np.ndarray]:
    """
    :param policy: The policy, unchanged since the rollout began
    :param env: The learner's environment; its normalisation statistics are applied and left alone
    :param segments: Injected episodes, each with its prefix
    :param make_rows: Makes rows for the policy
    :param gamma: Discount factor
    :param bootstrap: The value that a return starts from
    :return: All rows of all episodes, one after another, K of them, and their returns-to-go, ``[K]``
    """
    episodes = [segment for segment, _ in segments]
    # With the last observation, since stacked frames reach back into the episode.
    observed = [
        episode_to_policy_observations(env, append_observation(segment.observations, segment.last_observation))
        for segment in episodes
    ]
    rows = make_rows(
        observations_as_rows(policy, join_observations([index_observations(part, slice(-1)) for part in observed])),
        th.cat([_policy_actions(policy, segment, prefix) for segment, prefix in segments]),
        np.concatenate([np.arange(len(segment)) == 0 for segment in episodes]),
        _action_masks(episodes),
    )
    last_rows = np.cumsum([len(segment) for segment in episodes]) - 1
    returns = []
    for segment, observations, last_row in zip(episodes, observed, last_rows, strict=True):
        last_value = 0.0
        if _goes_on(segment, bootstrap):
            last = observations_as_rows(policy, index_observations(observations, slice(-1, None)))
            last_value = rows.value_after(int(last_row), last)
        returns.append(discounted_returns(to_policy_rewards(env, segment.rewards), gamma, last_value))
    return rows, np.concatenate(returns)


def experts_steps(policy: ActorCriticPolicy, env: VecEnv, segments: list[ExpertSegment]) -> LabelledRows:
    """
    :param policy: The policy
    :param env: The learner's environment; its normalisation statistics are applied and left alone
    :param segments: Injected episodes, each with a step of the expert's
    :return: The expert's own steps, as samples of its actions, of weight 1
    """
    observed = [
        rows_from(episode_to_policy_observations(env, segment.observations), segment.fork_step) for segment in segments
    ]
    actions = np.concatenate([segment.actions[segment.fork_step :] for segment in segments])
    masks = _action_masks(segments)
    is_experts = np.concatenate([np.arange(len(segment)) >= segment.fork_step for segment in segments])
    return LabelledRows(
        as_arrays(observations_as_rows(policy, join_observations(observed))),
        actions,
        np.ones(len(actions), dtype=np.float32),
        np.zeros(len(actions), dtype=bool),
        None if masks is None else masks[is_experts],
    )


def expert_log_probs(segments: list[ExpertSegment]) -> np.ndarray:
    """
    :param segments: Injected episodes, K rows in all
    :return: log pi_E of all rows, 0 in the agent's, ``[K]``
    :raises FeedbackError: If an expert gave none
    """
    parts = []
    for segment in segments:
        check_expert_log_probs(segment.expert_log_probs, len(segment) - segment.fork_step, "expert segment")
        assert segment.expert_log_probs is not None
        parts += [np.zeros(segment.fork_step), np.asarray(segment.expert_log_probs, dtype=np.float64)]
    return np.concatenate(parts)


def _policy_actions(policy: ActorCriticPolicy, segment: ExpertSegment, prefix: Prefix) -> th.Tensor:
    """One episode's actions as the policy proposes them."""
    # The environment saw the prefix clipped; the log-probability belongs to the policy's proposal.
    parts = [policy_tensor(policy, np.stack(prefix))] if prefix else []
    if segment.fork_step < len(segment):
        parts.append(env_to_policy_tensor(policy, segment.actions[segment.fork_step :]))
    return th.cat(parts)


def _action_masks(segments: list[ExpertSegment]) -> np.ndarray | None:
    masks = [segment.action_masks for segment in segments if segment.action_masks is not None]
    return np.concatenate(masks) if len(masks) == len(segments) else None


def _goes_on(segment: ExpertSegment, bootstrap: Bootstrap) -> bool:
    """Whether the return after the last step is V's to say."""
    is_cut = not (segment.terminated or segment.truncated)
    if is_cut and not bootstrap.has_critic:
        raise FeedbackError(
            "an injected episode was cut by max_segment_steps, and there is no value function for what would have come. "
            "Pass baseline=True, or leave max_segment_steps away."
        )
    at_time_limit = segment.truncated and not segment.terminated
    return is_cut or (at_time_limit and bootstrap.has_critic and bootstrap.at_time_limit)
