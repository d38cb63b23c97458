"""Rows that train beside the rollout's own: demonstrations and injected episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th


@dataclass
class DemonstrationRows:
    """
    Demonstrations as tensors in the policy's scale.

    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param actions: ``[K, *action_shape]``
    :param weights: ``[K]``
    :param is_mode: Whether the actions are the expert's mode
    """

    observations: Any
    actions: th.Tensor
    weights: th.Tensor
    is_mode: bool

    def __len__(self) -> int:
        return len(self.actions)


@dataclass
class InjectedRows:
    """
    All steps of a rollout's injected episodes, as tensors in the policy's scale.

    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param actions: ``[K, *action_shape]``
    :param old_log_prob: log pi(a | s) of the policy that collected the rollout, ``[K]``
    :param advantages: On the scale of the agent's own, ``[K]``
    :param returns: Returns-to-go, ``[K]``
    :param weights: Weight of each row, ``[K]``
    """

    observations: Any
    actions: th.Tensor
    old_log_prob: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    weights: th.Tensor

    def __len__(self) -> int:
        return len(self.actions)


class RowShare:
    """
    Deals K rows out over minibatches, each its fair share, so that an epoch sees every row once.

    :param n_rows: K, rows to deal
    :param n_rollout_rows: N, rows of the rollout whose minibatches are being served
    :param rng: Shuffles the rows for each epoch
    """

    def __init__(self, n_rows: int, n_rollout_rows: int, rng: np.random.Generator) -> None:
        self._n_rows = n_rows
        self._n_rollout_rows = n_rollout_rows
        self._rng = rng
        self._served = 0

    def next(self, n_batch_rows: int) -> th.Tensor:
        """
        :param n_batch_rows: B, rows of this minibatch
        :return: Indices of the rows that go with it; about K B / N of them
        """
        if self._served == 0:
            self._order = th.as_tensor(self._rng.permutation(self._n_rows))
        start = self._served * self._n_rows // self._n_rollout_rows
        self._served += n_batch_rows
        stop = self._served * self._n_rows // self._n_rollout_rows
        if self._served >= self._n_rollout_rows:
            self._served = 0
        return self._order[start:stop]


def index_observations(observations: Any, rows: th.Tensor) -> Any:
    """
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param rows: ``[k]``
    :return: ``[k, *obs_shape]`` or a dict of such
    """
    if isinstance(observations, dict):
        return {key: value[rows] for key, value in observations.items()}
    return observations[rows]
