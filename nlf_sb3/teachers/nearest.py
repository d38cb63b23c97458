"""Recorded behaviour as an expert: do what was done in the nearest recorded state."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.masks import check_allowed
from nlf_sb3.observation_checks import check_observations
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.validation import check_actions

_IMAGE_DIMENSIONS = 3


class NearestStateExpert(Expert):
    r"""
    Acts as the demonstrations did in the state nearest to the one it is asked about.

    What it is good for: labels near what was recorded, from recordings alone, without training anything. In a
    recorded state it answers with exactly the recorded action. What it can't do:

    - It doesn't generalise. Away from the recordings its answer is that of some far state, however wrong there;
      ``max_distance`` makes it say so instead, and :meth:`distances` tells beforehand.
    - Errors compound: acting by itself (trajectory injection, takeover), each step off the recordings makes the next
      one worse. A policy cloned from the same rows (:func:`nlf_sb3.interop.imitation.clone`) interpolates between
      them, and drifts as well.
    - Near and far depend on the scale of each number in an observation, and numbers that say nothing about the
      action count as much as those that do.
    - It has no distribution: no analytic KL (``imitation="kl"``), no log-probabilities.

    With several neighbours each counts with its demonstration's weight divided by its distance, and where some are
    at distance 0, these alone: floats are averaged, all other actions voted on, dimension by dimension (of equal
    votes the smallest action wins). With one, a weight only tells whether a row counts at all: rows of weight 0 are
    left out. Of several rows with the very same observation one neighbour is any one of them.

    Dict observations are flattened in the order of their sorted keys. It keeps the rows, and one float64 copy of all
    observations, and searches that by a k-d tree: a question takes time logarithmic in the number of rows for a handful of
    dimensions, and linear in it from about 20 dimensions on. Images are refused: pixels tell little by their distance.

    >>> rows = Demonstrations(np.array([[0.0], [1.0]]), np.array([3, 5]))
    >>> NearestStateExpert(rows).act(np.array([[0.2], [0.9]]))
    array([3, 5])

    :param demonstrations: What was recorded
    :param n_neighbors: How many recorded states decide
    :param scale: What each number of an observation is divided by before distances are taken: ``"std"`` for its
        standard deviation over the rows (1 where it never varied), None for nothing, or positive numbers,
        ``[n_features]`` or one for all
    :param max_distance: Euclidean distance, after scaling, beyond which it has no answer
    :raises FeedbackError: If the rows can't be searched, or an argument doesn't fit them
    :raises MissingExtraError: Without scikit-learn
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        *,
        n_neighbors: int = 1,
        scale: Literal["std"] | np.ndarray | float | None = "std",
        max_distance: float | None = None,
    ) -> None:
        neighbors = require("sklearn.neighbors", "data", "NearestStateExpert")
        if not isinstance(demonstrations, Demonstrations):
            raise FeedbackError(
                f"NearestStateExpert: got {type(demonstrations).__name__}, expected Demonstrations. "
                "For a file, use Demonstrations.load(path)."
            )
        assert demonstrations.weights is not None
        used = demonstrations.weights > 0
        if isinstance(n_neighbors, bool) or not 1 <= n_neighbors <= used.sum():
            raise FeedbackError(
                f"NearestStateExpert: n_neighbors: got {n_neighbors}, expected 1 to {used.sum()}, the rows of weight above 0."
            )
        if max_distance is not None and not 0 <= max_distance < np.inf:
            raise FeedbackError(
                f"NearestStateExpert: max_distance: got {max_distance}, expected a finite number of at least 0."
            )
        self._demonstrations = demonstrations
        self.n_neighbors = n_neighbors
        self.max_distance = max_distance
        self.label = demonstrations.label if n_neighbors == 1 else "mode"
        self._weights = demonstrations.weights[used]
        self._actions = demonstrations.actions[used]
        self._sizes = _sizes(demonstrations.observations)
        features = self._features(demonstrations.observations)[used]
        self._scale = _scale(scale, features)
        # The tree measures every distance itself. NearestNeighbors may choose matrix products, whose rounding can miss
        # the nearest, and takes many times longer for the one row that an acting expert asks about.
        self._search: Any = neighbors.KDTree(features / self._scale)

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        """
        :param observation_space: Space of the raw observations
        :param action_space: Space of the actions
        :raises FeedbackError: If the recorded rows don't fit
        """
        rows = self._demonstrations
        actions = check_actions(rows.actions, action_space, len(rows), "demonstrations")
        check_observations(rows.observations, observation_space, len(rows))
        if rows.action_masks is not None:
            check_allowed(actions, rows.action_masks, action_space, "demonstrations")

    def act(self, observations: Observations) -> np.ndarray:
        distances, rows = self._neighbors(observations)
        if self.max_distance is not None and (distances[:, 0] > self.max_distance).any():
            far = int(np.argmax(distances[:, 0]))
            raise FeedbackError(
                f"NearestStateExpert: row {far} of {len(distances)} is {distances[far, 0]:.4g} away from the nearest recorded "
                f"state, more than max_distance={self.max_distance:g}. Record demonstrations there, allow more, or pass "
                "on_error='skip' to the algorithm."
            )
        if self.n_neighbors == 1:
            return self._actions[rows[:, 0]]  # type: ignore[no-any-return]
        weights = self._weights[rows] * _closeness(distances)
        weights /= weights.sum(axis=1, keepdims=True)
        decide = _average if self._actions.dtype.kind == "f" else _vote
        return decide(self._actions[rows], weights)

    def distances(self, observations: Observations) -> np.ndarray:
        """
        How far the nearest recorded states are, for a teacher that keeps silent where nothing was recorded.

        :param observations: ``[n, *obs_shape]`` or a dict of such
        :return: Euclidean distances after scaling, ``[n]``
        """
        return self._neighbors(observations)[0][:, 0]

    def _neighbors(self, observations: Observations) -> tuple[np.ndarray, np.ndarray]:
        """Distances and row numbers of the neighbours, nearest first, ``[n, n_neighbors]`` each."""
        distances, rows = self._search.query(self._features(observations) / self._scale, k=self.n_neighbors)
        return distances, rows

    def _features(self, observations: Observations) -> np.ndarray:
        """Observations as rows of numbers, ``[n, n_features]``."""
        came = _sizes(observations)
        if came != self._sizes:
            raise FeedbackError(
                f"NearestStateExpert: got observations of {came} numbers, expected {self._sizes} as recorded. "
                "Pass a batch, [n, *obs_shape], of the environment that the demonstrations come from."
            )
        parts = [array.reshape(len(array), -1).astype(np.float64) for array in _arrays(observations).values()]
        features = np.concatenate(parts, axis=1)
        if not np.isfinite(features).all():
            raise FeedbackError("NearestStateExpert: observations hold NaN or infinity, which have no distance.")
        return features


def _arrays(observations: Observations) -> dict[str, np.ndarray]:
    arrays = observations if isinstance(observations, dict) else {"observations": observations}
    return {key: np.asarray(arrays[key]) for key in sorted(arrays)}


def _sizes(observations: Observations) -> dict[str, int]:
    """How many numbers each part of one observation has."""
    arrays = _arrays(observations)
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise FeedbackError(f"NearestStateExpert: {key} has dtype {array.dtype}, expected numbers.")
        if array.ndim > _IMAGE_DIMENSIONS:
            raise FeedbackError(
                f"NearestStateExpert: {key} has shape {array.shape}: images are refused, since pixels tell little by their "
                "distance. Build it on features, and wrap it: CallableExpert(lambda images: nearest.act(features(images)))."
            )
    return {key: int(np.prod(array.shape[1:])) for key, array in arrays.items()}


def _scale(scale: Any, features: np.ndarray) -> np.ndarray:
    if isinstance(scale, str) and scale == "std":
        std = features.std(axis=0)
        return np.where(std > 0, std, 1.0)
    try:
        given = np.broadcast_to(np.array(1.0 if scale is None else scale, dtype=np.float64), features.shape[1:])
    except (TypeError, ValueError):
        given = np.zeros(1)
    if not (np.isfinite(given) & (given > 0)).all():
        raise FeedbackError(
            f"NearestStateExpert: scale: got {scale!r}, expected 'std', None or positive numbers, [{features.shape[1]}] or 1."
        )
    return given


def _closeness(distances: np.ndarray) -> np.ndarray:
    """1 / distance, up to a factor for each row; where a neighbour is at distance 0, only those count."""
    nearest = distances[:, :1]
    ratios = np.divide(nearest, distances, out=np.ones_like(distances), where=distances > 0)
    closeness: np.ndarray = np.where(nearest > 0, ratios, distances == 0)
    return closeness


def _average(actions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means, ``[n, k, *action_shape]`` and ``[n, k]`` to ``[n, *action_shape]``; never beyond the neighbours'."""
    means = np.einsum("nk...,nk->n...", actions.astype(np.float64), weights)
    bounded: np.ndarray = np.clip(means, actions.min(axis=1), actions.max(axis=1))
    return bounded.astype(actions.dtype)


def _vote(actions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The action with the largest weight in each dimension, ``[n, k, *action_shape]`` to ``[n, *action_shape]``."""
    values = np.unique(actions)
    votes = np.stack([np.einsum("nk...,nk->n...", actions == value, weights) for value in values], axis=-1)
    winners: np.ndarray = values[votes.argmax(axis=-1)]
    return winners
