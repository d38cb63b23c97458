"""Weights of a rollout's labels, by the rules of ``Imitation.weights``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.action_scales import env_to_policy_tensor, policy_tensor
from nlf_sb3.adapters.base import Adapter
from nlf_sb3.buffers.labels import NO_LABEL
from nlf_sb3.label_weights import LabelFactors, LabelledRollout, label_factors


class Answers:
    """
    The labels that a rollout has, and the expert's distribution on rows without one.

    :param adapter: Of the model's algorithm
    :param distribution: The expert's distribution, if it was asked for one
    :param asked: Flat indices of its rows, ``[n]``
    """

    def __init__(self, adapter: Adapter, distribution: Distribution | None, asked: np.ndarray | None) -> None:
        self._adapter = adapter
        self._model = adapter.model
        self._distribution = distribution
        buffer = self._model.rollout_buffer
        self.rows: np.ndarray = buffer.row_indices()
        self._is_labelled = buffer.take_rows(buffer.label_kinds, self.rows) != NO_LABEL
        self._is_asked = np.zeros_like(self._is_labelled) if asked is None else np.isin(self.rows, asked)
        self.exist: np.ndarray = self._is_labelled | self._is_asked

    def factors(self, is_settled: bool) -> LabelFactors:
        """
        :param is_settled: Whether the buffer's advantages are already as the policy loss takes them
        :return: The factors of the rules
        """
        model, buffer, rows = self._model, self._model.rollout_buffer, self.rows
        labels = self._actions()
        model.policy.set_training_mode(False)
        with th.no_grad():
            distribution = self._adapter.evaluate_rollout_rows(rows).distribution
        advantages = buffer.take_rows(buffer.advantages, rows)
        if not is_settled:
            advantages = self._adapter.advantage_scale().as_used(th.as_tensor(advantages)).numpy()
        actions = policy_tensor(model.policy, buffer.take_rows(buffer.actions, rows))
        rollout = LabelledRollout(distribution, actions, labels, self.exist, advantages)
        return label_factors(model.imitation.weights, rollout)

    def _actions(self) -> th.Tensor:
        """The expert's actions: labels, and modes of its distribution."""
        model, buffer = self._model, self._model.rollout_buffer
        labels = env_to_policy_tensor(model.policy, buffer.take_rows(buffer.label_actions, self.rows))
        if self._distribution is None:
            return labels
        modes = labels.clone()
        answers: Any = self._distribution.mode().to(model.device)
        modes[self._is_asked] = answers.reshape(len(answers), *labels.shape[1:]).to(labels.dtype)
        own = th.as_tensor(self._is_labelled, device=model.device)
        return th.where(own.reshape(-1, *[1] * (labels.dim() - 1)), labels, modes)
