"""Rows that train beside the rollout's own, as the policy's forward pass takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.preprocessing import get_obs_shape

from nlf_sb3.objectives.evaluating import Evaluated, Evaluator
from nlf_sb3.observations import ObservationRows, dealing_order, index_observations


class Evaluation(NamedTuple):
    """
    A policy's answers on k rows.

    :param values: V(s), ``[k]``
    :param log_prob: log pi(a | s), ``[k]``
    :param distribution: pi(. | s), k rows. The policy may refill it at its next forward pass.
    """

    values: th.Tensor
    log_prob: th.Tensor
    distribution: Any


class PolicyRows:
    """
    K rows (s, a) as tensors in the policy's scale, to be evaluated in whole or in part.

    :param policy: The policy
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param actions: ``[K, action_dim]``, or ``[K]`` of integers for Discrete spaces
    :param action_masks: ``[K, n_choices]`` for a policy that takes masks, if there are any
    """

    def __init__(self, policy: Any, observations: Any, actions: th.Tensor, action_masks: np.ndarray | None = None) -> None:
        self.observations = observations
        self.actions = actions
        self.action_masks = action_masks
        self._policy = policy
        self._evaluate_actions = policy.evaluate_actions  # train() may be watching the policy's own later

    def __len__(self) -> int:
        return len(self.actions)

    def subset(self, chosen: np.ndarray) -> PolicyRows:
        """
        :param chosen: Indices of rows, ascending, ``[k]``
        :return: These rows alone
        """
        masks = None if self.action_masks is None else self.action_masks[chosen]
        return PolicyRows(self._policy, index_observations(self.observations, chosen), self.actions[chosen], masks)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """
        :param rng: Shuffles
        :return: All rows in an order in which neighbours may be evaluated together, ``[K]``
        """
        return dealing_order(self.observations, len(self), rng)

    def evaluate(self, chosen: np.ndarray) -> Evaluation:
        """
        :param chosen: Indices of rows, neighbours in :meth:`order`, ``[k]``
        :return: The policy's answers on them
        """
        masks = {} if self.action_masks is None else {"action_masks": self.action_masks[chosen]}
        said = self._evaluate(index_observations(self.observations, chosen), self.actions[chosen], **masks)
        return Evaluation(said.values.flatten(), said.log_prob, said.distribution)

    def _evaluate(self, *args: Any, **kwargs: Any) -> Evaluated:
        return Evaluator(self._policy, self._evaluate_actions)(*args, **kwargs)

    def evaluate_all(self) -> Evaluation:
        """The policy's answers on all rows."""
        return self.evaluate(np.arange(len(self)))

    def value_after(self, row: int, observations: Any) -> float:
        """
        :param row: Index of a row
        :param observations: The observation after it, in the policy's scale, ``[1, *obs_shape]`` or a dict of such
        :return: V of that state
        """
        with th.no_grad():
            return float(self._policy.predict_values(observations))


class MinibatchDealer:
    """
    Deals K rows out over minibatches, each its fair share, so that an epoch sees every row once.

    :param rows: The rows to deal
    :param n_rollout_rows: N, rows of the rollout whose minibatches are being served
    :param rng: Orders the rows anew for each epoch
    """

    def __init__(self, rows: PolicyRows, n_rollout_rows: int, rng: np.random.Generator) -> None:
        self._rows = rows
        self._n_rollout_rows = n_rollout_rows
        self._rng = rng
        self._served = 0

    def next(self, n_batch_rows: int) -> np.ndarray:
        """
        :param n_batch_rows: B, rows of this minibatch
        :return: Indices of the rows that go with it; about K B / N of them
        """
        if self._served == 0:
            self._order = self._rows.order(self._rng)
        start = self._served * len(self._rows) // self._n_rollout_rows
        self._served += n_batch_rows
        stop = self._served * len(self._rows) // self._n_rollout_rows
        if self._served >= self._n_rollout_rows:
            self._served = 0
        return self._order[start:stop]


def observations_as_rows(policy: Any, observations: Any) -> Any:
    """
    :param policy: The policy
    :param observations: In the policy's scale, ``[K, *obs_shape]`` or a dict of such
    :return: Tensors in the shape in which rollout buffers hold them: Discrete observations have one more column there
    """
    if isinstance(observations, ObservationRows):
        return observations
    tensors, _ = policy.obs_to_tensor(observations)
    shapes: Any = get_obs_shape(policy.observation_space)
    if isinstance(tensors, dict):
        return {key: tensor.reshape(-1, *shapes[key]) for key, tensor in tensors.items()}
    return tensors.reshape(-1, *shapes)
