"""The imitation term of a rollout: what each minibatch adds for its labelled rows and for demonstrations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.algorithms.rows import DemonstrationRows, RowShare
from nlf_sb3.buffers.labels import MODE, NO_LABEL, FeedbackBufferMixin
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.distributions import kl_divergence, log_prob_of_labels, select_rows
from nlf_sb3.losses import minibatch_imitation_loss


class ImitationTerm:
    """
    L_IL of one rollout, minibatch by minibatch (:func:`nlf_sb3.losses.minibatch_imitation_loss`).

    A row with a label of its own is imitated by its log-likelihood; other rows by the analytic KL where
    the expert's distribution is given.

    :param policy: The policy in training
    :param buffer: The rollout
    :param expert_distribution: The expert's distribution on all N rows of the rollout, in the order of
        ``buffer.row_indices()``; None for labels alone
    :param demonstrations: Rows that the agent didn't visit
    :param mode_trains_std: Whether labels that are a mode train the standard deviation too
    :param rng: Shuffles the demonstrations
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        buffer: FeedbackBufferMixin,
        *,
        expert_distribution: Distribution | None,
        demonstrations: DemonstrationRows | None,
        mode_trains_std: bool,
        rng: np.random.Generator,
    ) -> None:
        self._policy = policy
        self._buffer = buffer
        self._expert_distribution = expert_distribution
        self.demonstrations = demonstrations
        self._mode_trains_std = mode_trains_std
        rows = buffer.row_indices()
        self.n_rows = len(rows)
        labelled = int((buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL).sum())
        self.n_labelled = self.n_rows if expert_distribution is not None else labelled
        if expert_distribution is not None:
            self._position = np.empty(buffer.buffer_size * buffer.n_envs, dtype=np.int64)
            self._position[rows] = np.arange(self.n_rows)
        if demonstrations is not None:
            self.n_labelled += len(demonstrations)
            self._share = RowShare(demonstrations.rows, self.n_rows, rng)
        self.losses: list[float] = []
        self.last_loss: th.Tensor | None = None

    def __call__(self, batch: Minibatch) -> th.Tensor:
        """
        :param batch: The minibatch whose forward pass the policy has just made, B rows
        :return: Its estimate of L_IL, scalar
        """
        # The labels come first: demonstrations refill the policy's one distribution object.
        parts = [*self._labelled_rows(batch), *self._demonstration_rows(len(batch))]
        if parts:
            divergences, weights = (th.cat(column) for column in zip(*parts, strict=True))
        else:
            divergences = weights = th.zeros(0, device=self._policy.device)
        loss = minibatch_imitation_loss(divergences, weights, self.n_rows, len(batch), self.n_labelled)
        self.last_loss = loss
        self.losses.append(loss.item())
        return loss

    def _labelled_rows(self, batch: Minibatch) -> list[tuple[th.Tensor, th.Tensor]]:
        kinds = self._buffer.take_rows(self._buffer.label_kinds, batch.rows)
        distribution = self._policy.action_dist
        if batch.positions is not None:
            distribution = select_rows(distribution, batch.positions)
        own = np.flatnonzero(kinds)
        parts = []
        if len(own):
            labels = self._buffer.take_rows(self._buffer.label_actions, batch.rows[own])
            divergences = self._negative_log_prob(
                _rows_of(distribution, own, len(batch)),
                to_policy_actions(self._policy, labels),
                th.as_tensor(kinds[own] == MODE, device=self._policy.device),
            )
            weights = self._buffer.take_rows(self._buffer.label_weights, batch.rows[own])
            parts.append((divergences, th.as_tensor(weights, device=self._policy.device)))
        if self._expert_distribution is not None and len(own) < len(batch):
            others = np.flatnonzero(kinds == NO_LABEL)
            expert = select_rows(self._expert_distribution, self._position[batch.rows[others]], self._policy.device)
            divergences = kl_divergence(expert, _rows_of(distribution, others, len(batch)))
            parts.append((divergences, th.ones_like(divergences)))
        return parts

    def _demonstration_rows(self, n_batch_rows: int) -> list[tuple[th.Tensor, th.Tensor]]:
        demonstrations = self.demonstrations
        if demonstrations is None:
            return []
        chosen = self._share.next(n_batch_rows)
        if not len(chosen):
            return []
        evaluation = demonstrations.rows.evaluate(chosen)
        is_mode = th.full((len(chosen),), demonstrations.is_mode, device=self._policy.device)
        divergences = self._negative_log_prob(evaluation.distribution, demonstrations.rows.actions[chosen], is_mode)
        return [(divergences, demonstrations.weights[chosen])]

    def _negative_log_prob(self, distribution: Distribution, actions: th.Tensor, is_mode: th.Tensor) -> th.Tensor:
        if self._mode_trains_std:
            return -distribution.log_prob(actions)
        return -log_prob_of_labels(distribution, actions, is_mode)


def to_policy_actions(policy: ActorCriticPolicy, actions: np.ndarray) -> th.Tensor:
    """
    Environment-scale actions as ``policy.evaluate_actions`` takes them.

    :param policy: The policy
    :param actions: ``[n, *action_shape]``
    :return: ``[n, action_dim]``, or ``[n]`` of integers for Discrete spaces
    """
    if isinstance(policy.action_space, spaces.Box) and policy.squash_output:
        actions = policy.scale_action(actions)
    return raw_policy_actions(policy, actions)


def raw_policy_actions(policy: ActorCriticPolicy, actions: np.ndarray) -> th.Tensor:
    """
    Actions on the policy's own scale, as buffers keep them, for ``policy.evaluate_actions``.

    :param policy: The policy
    :param actions: ``[n, action_dim]`` or ``[n, *action_shape]``
    :return: ``[n, action_dim]``, or ``[n]`` of integers for Discrete spaces
    """
    if isinstance(policy.action_space, spaces.Discrete):
        return th.as_tensor(actions.reshape(-1), dtype=th.long, device=policy.device)
    return th.as_tensor(actions.reshape(len(actions), -1), dtype=th.float32, device=policy.device)


def _rows_of(distribution: Any, rows: np.ndarray, n_rows: int) -> Any:
    return distribution if len(rows) == n_rows else select_rows(distribution, rows)
