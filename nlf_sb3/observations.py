"""Rows of observations, whatever they are: arrays, tensors, dicts of such, or a kind that joins and deals itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.utils import obs_as_tensor

SelfRows = TypeVar("SelfRows", bound="ObservationRows")


class ObservationRows(ABC):
    """Rows of observations that aren't one array: indexed, assigned and measured as an array's first axes are."""

    shape: tuple[int, ...]
    """Of the rows alone: what one of them holds is its own business."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, rows: Any) -> Any: ...

    @abstractmethod
    def __setitem__(self, rows: Any, others: Any) -> None: ...

    @abstractmethod
    def copy(self: SelfRows) -> SelfRows:
        """The same rows, to be assigned to without a change to these."""

    @abstractmethod
    def blank(self: SelfRows, n_rows: int) -> SelfRows:
        """
        :param n_rows: How many rows
        :return: So many rows of this kind that hold nothing yet
        """

    @abstractmethod
    def joined(self: SelfRows, others: Sequence[SelfRows]) -> SelfRows:
        """
        :param others: More rows of this kind
        :return: These rows, and the others after them
        """

    @abstractmethod
    def appended(self: SelfRows, last: Any) -> SelfRows:
        """
        :param last: One more observation, as environments return it
        :return: These rows, and it after them
        """

    @abstractmethod
    def order(self, rng: np.random.Generator) -> np.ndarray:
        """
        :param rng: Shuffles
        :return: All rows in an order in which those stand together that cost least together, ``[K]``
        """


def index_observations(observations: Any, rows: Any) -> Any:
    """
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param rows: ``[k]``, or a slice
    :return: ``[k, *obs_shape]`` or a dict of such
    """
    if isinstance(observations, dict):
        return {key: value[rows] for key, value in observations.items()}
    return observations[rows]


def join_observations(parts: Sequence[Any]) -> Any:
    """
    :param parts: Each ``[K_i, *obs_shape]`` or a dict of such
    :return: All rows
    """
    first = parts[0]
    if isinstance(first, dict):
        return {key: join_observations([part[key] for part in parts]) for key in first}
    if isinstance(first, ObservationRows):
        return first.joined(parts[1:])
    return th.cat(list(parts)) if isinstance(first, th.Tensor) else np.concatenate(parts)


def append_observation(observations: Any, last: Any) -> Any:
    """
    :param observations: ``[T, *obs_shape]`` or a dict of such
    :param last: One more observation, ``[*obs_shape]`` or a dict of such
    :return: ``[T + 1, *obs_shape]`` or a dict of such
    """
    if isinstance(observations, dict):
        return {key: append_observation(rows, last[key]) for key, rows in observations.items()}
    if isinstance(observations, ObservationRows):
        return observations.appended(last)
    return np.append(observations, np.asarray(last, dtype=observations.dtype)[None], axis=0)


def blank_observations(like: Any, n_rows: int) -> Any:
    """
    :param like: ``[K, *obs_shape]`` or a dict of such
    :param n_rows: How many rows
    :return: ``[n_rows, *obs_shape]`` of zeros or a dict of such
    """
    if isinstance(like, dict):
        return {key: blank_observations(value, n_rows) for key, value in like.items()}
    if isinstance(like, ObservationRows):
        return like.blank(n_rows)
    return np.zeros((n_rows, *like.shape[1:]), dtype=like.dtype)


def observations_on(observations: Any, device: th.device) -> Any:
    """
    :param observations: Rows as rollout buffers hold them, ``[K, *obs_shape]`` or a dict of such
    :param device: Where the policy lies
    :return: The same as the policy takes them
    """
    return observations if isinstance(observations, ObservationRows) else obs_as_tensor(observations, device)


def as_arrays(observations: Any) -> Any:
    """
    :param observations: Rows as the policy takes them, ``[K, *obs_shape]`` or a dict of such
    :return: The same as rollout buffers hold them
    """
    if isinstance(observations, dict):
        return {key: as_arrays(value) for key, value in observations.items()}
    return observations.cpu().numpy() if isinstance(observations, th.Tensor) else observations


def draw_rows(observations: Any, n_available: int, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param n_available: How many of the first of them may be drawn
    :param n_rows: How many to draw, none twice
    :param rng: Draws
    :return: Rows, of such as cost least together where there are any, ``[n_rows]``
    """
    if isinstance(observations, ObservationRows):
        return observations[:n_available].order(rng)[:n_rows]  # type: ignore[no-any-return]
    return rng.choice(n_available, n_rows, replace=False)


def dealing_order(observations: Any, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """
    :param observations: ``[K, *obs_shape]`` or a dict of such
    :param n_rows: K
    :param rng: Shuffles
    :return: All rows in an order in which neighbours may be evaluated together, ``[K]``
    """
    return observations.order(rng) if isinstance(observations, ObservationRows) else rng.permutation(n_rows)
