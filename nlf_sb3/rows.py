"""The two containers of rows: states with an expert's action, and steps of an expert's episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch as th

from nlf_sb3.observations import index_observations


class LabelledRows(NamedTuple):
    """
    K states, each with an expert's action.

    :param observations: In the policy's scale, as rollout buffers hold them, ``[K, *obs_shape]`` or a dict of such
    :param actions: In the environment's scale, ``[K, *action_shape]``
    :param weights: ``[K]``
    :param is_mode: Whether an action is the expert's mode, ``[K]``
    :param action_masks: The choices that were allowed, ``[K, n_choices]``; None without masks
    """

    observations: Any
    actions: np.ndarray
    weights: np.ndarray
    is_mode: np.ndarray
    action_masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def take(self, rows: np.ndarray) -> LabelledRows:
        """
        :param rows: Indices, ``[k]``
        :return: These rows
        """
        columns: Any = (None if column is None else index_observations(column, rows) for column in self)
        return LabelledRows(*columns)


def with_equal_masks(parts: Sequence[LabelledRows]) -> list[LabelledRows]:
    """
    :param parts: Rows, some with masks and some without
    :return: The same rows: all with masks, or none. Where there were no masks, everything was allowed.
    """
    n_choices = next((rows.action_masks.shape[1] for rows in parts if rows.action_masks is not None), None)
    if n_choices is None:
        return list(parts)
    everything = [np.ones((len(rows), n_choices), dtype=bool) for rows in parts]
    return [
        LabelledRows(*rows[:4], full) if rows.action_masks is None else rows
        for rows, full in zip(parts, everything, strict=True)
    ]


@dataclass
class TrajectoryRows:
    """
    All steps of a rollout's injected episodes.

    :param rows: K rows for the policy's forward pass
    :param old_log_prob: log pi(a | s) of the policy that collected the rollout, ``[K]``
    :param advantages: On the scale of the agent's advantages, ``[K]``
    :param returns: Returns-to-go, ``[K]``
    :param weights: ``[K]``
    """

    rows: Any
    old_log_prob: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    weights: th.Tensor

    def __len__(self) -> int:
        return len(self.rows)
