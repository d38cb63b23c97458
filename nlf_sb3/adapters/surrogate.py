"""One batch for a trust-region step: the agent's rows, labels and injected rows, each with its weight in the objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.action_scales import env_to_policy_tensor
from nlf_sb3.buffers.labels import MODE, FeedbackBufferMixin
from nlf_sb3.distributions import log_prob_of_labels
from nlf_sb3.losses import MAX_LOG_RATIO
from nlf_sb3.objectives.expert_ratios import check_likelihoods
from nlf_sb3.objectives.imitation import ImitationTerm
from nlf_sb3.objectives.terms import RolloutTerms
from nlf_sb3.observations import index_observations, join_observations
from nlf_sb3.rows import TrajectoryRows


@dataclass
class SurrogateRows:
    r"""
    Rows of the objective :math:`\sum_t w_t \, \pi(a_t|s_t) / \pi_{old}(a_t|s_t)`.

    :param observations: ``[T, *obs_shape]`` or a dict of such
    :param actions: In the policy's scale, ``[T, action_dim]``, or ``[T]`` of integers
    :param old_log_prob: log pi_old(a | s), ``[T]``
    :param weights: w, ``[T]``
    :param is_mode: Whether a row leaves the standard deviation alone, ``[T]``
    :param is_experts: Whether a row's action is an expert's, ``[T]``
    """

    observations: Any
    actions: th.Tensor
    old_log_prob: th.Tensor
    weights: th.Tensor
    is_mode: th.Tensor
    is_experts: th.Tensor

    def __len__(self) -> int:
        return len(self.actions)

    def bounded(self, log_prob: th.Tensor) -> th.Tensor:
        """
        Log-probabilities whose ratios to the old ones are at most :data:`~nlf_sb3.losses.MAX_LOG_RATIO` where an expert acted.

        A line search would see objectives that are infinite, or no numbers.

        :param log_prob: log pi(a | s), ``[T]``
        :return: The same, ``[T]``
        """
        largest = self.old_log_prob + MAX_LOG_RATIO
        return th.where(self.is_experts & (log_prob > largest), largest, log_prob)


class SurrogateBatch:
    """
    Builds the batch of a rollout.

    :param policy: The policy that collected the rollout
    :param buffer: The rollout
    :param terms: The terms of the update
    :param keep_every: TRPO's ``sub_sampling_factor``
    :param normalizes: Whether the agent's advantages are normalised here
    :param injection_coef: Weight of the mean over all injected rows; None counts each as one of the agent's
    :param mode_trains_std: Whether labels that are a mode train the standard deviation too
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        buffer: FeedbackBufferMixin,
        terms: RolloutTerms,
        *,
        keep_every: int,
        normalizes: bool,
        injection_coef: float | None,
        mode_trains_std: bool,
    ) -> None:
        self._policy = policy
        self._buffer = buffer
        self._terms = terms
        self._keep_every = keep_every
        self._normalizes = normalizes
        self._injection_coef = injection_coef
        self._mode_trains_std = mode_trains_std
        self._get_distribution = policy.get_distribution
        self.imitation_loss: float | None = None

    def rows(self, samples: Any) -> SurrogateRows:
        """
        :param samples: The whole rollout as the buffer has just handed it out
        :return: The agent's rows after sub-sampling, then labels, then injected rows
        """
        kept = slice(None, None, self._keep_every)
        indices = self._buffer.take_last_batch().rows[kept]
        observations = index_observations(samples.observations, kept)
        labels = [] if self._terms.imitation is None else self._labels(observations, indices, self._terms.imitation)
        alpha = self._terms.alpha if labels else 1.0
        advantages = samples.advantages[kept]
        is_experts = th.zeros_like(advantages, dtype=th.bool)
        if self._normalizes:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        if self._terms.interventions is not None:
            advantages = advantages * self._terms.interventions.among(indices).policy[indices]
            is_experts = th.as_tensor(self._terms.interventions.executed[indices], device=advantages.device)
        agents = SurrogateRows(
            observations,
            samples.actions[kept],
            samples.old_log_prob[kept],
            alpha / len(indices) * advantages,
            th.zeros_like(advantages, dtype=th.bool),
            is_experts,
        )
        parts = [agents, *(replace(part, weights=(1.0 - alpha) * part.weights) for part in labels)]
        if self._terms.injected is not None:
            parts.append(self._injected(self._terms.injected, alpha, len(indices)))
        return _concatenated(parts)

    def _labels(self, observations: Any, indices: np.ndarray, imitation: ImitationTerm) -> list[SurrogateRows]:
        """Labels of the agent's rows, and demonstrations, with weights w / M."""
        device = self._policy.device
        parts = []
        kinds = self._buffer.take_rows(self._buffer.label_kinds, indices)
        own = np.flatnonzero(kinds)
        if len(own):
            actions = env_to_policy_tensor(self._policy, self._buffer.take_rows(self._buffer.label_actions, indices[own]))
            weights = th.as_tensor(self._buffer.take_rows(self._buffer.label_weights, indices[own]), device=device)
            is_mode = th.as_tensor(kinds[own] == MODE, device=device)
            parts.append(self._label_part(index_observations(observations, own), actions, weights, is_mode))
        if imitation.shown is not None:
            assert imitation.shown_weights is not None
            assert imitation.shown_is_mode is not None
            chosen = np.arange(0, len(imitation.shown), self._keep_every)
            is_mode = th.as_tensor(imitation.shown_is_mode[chosen], device=device)
            shown = index_observations(imitation.shown.observations, chosen)
            parts.append(self._label_part(shown, imitation.shown.actions[chosen], imitation.shown_weights[chosen], is_mode))
        n_labelled = sum(map(len, parts))
        parts = [replace(part, weights=part.weights / n_labelled) for part in parts]
        if parts:
            self.imitation_loss = -sum(float((part.weights * part.old_log_prob).sum()) for part in parts)
        return parts

    def _label_part(self, observations: Any, actions: th.Tensor, weights: th.Tensor, is_mode: th.Tensor) -> SurrogateRows:
        is_mode = is_mode & (not self._mode_trains_std)
        with th.no_grad():
            log_prob = log_prob_of_labels(self._get_distribution(observations), actions, is_mode)
        check_likelihoods(log_prob, actions, lambda row: f"label, row {row}")
        return SurrogateRows(observations, actions, log_prob, weights, is_mode, th.ones_like(is_mode))

    def _injected(self, injected: TrajectoryRows, alpha: float, n_rows: int) -> SurrogateRows:
        row_weight = 1.0 / n_rows if self._injection_coef is None else self._injection_coef / len(injected)
        return SurrogateRows(
            injected.rows.observations,
            injected.rows.actions,
            injected.old_log_prob,
            alpha * row_weight * injected.weights * injected.advantages,
            th.zeros_like(injected.weights, dtype=th.bool),
            th.ones_like(injected.weights, dtype=th.bool),
        )


def _concatenated(parts: list[SurrogateRows]) -> SurrogateRows:
    observations = join_observations([part.observations for part in parts])
    actions = [part.actions.reshape(len(part), -1).to(parts[0].actions.dtype) for part in parts]
    names = ("old_log_prob", "weights", "is_mode", "is_experts")
    columns = [th.cat([getattr(part, name) for part in parts]) for name in names]
    return SurrogateRows(observations, th.cat(actions), *columns)
