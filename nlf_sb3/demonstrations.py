"""Expert rows that nobody visited during training: weighted pairs of observation and action, in memory and in files."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.demonstration_files import read_npz, write_npz
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Label
from nlf_sb3.infos import copy_value
from nlf_sb3.masks import check_allowed
from nlf_sb3.observation_checks import check_observations
from nlf_sb3.observations import ObservationRows, join_observations
from nlf_sb3.segments import ExpertSegment, rows_from
from nlf_sb3.validation import check_actions

_OF_DICT = "observations/"
"""What the arrays of dict observations are called in a file, before their key."""


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """
    Rows (s, a, w) for the imitation loss. It keeps copies of the arrays that it is given, and a model has its own.

    >>> import numpy as np
    >>> len(Demonstrations(np.zeros((3, 4)), np.array([0, 1, 1])))
    3

    :param observations: Raw observations, ``[K, *obs_shape]`` or a dict of such, or
        :class:`~nlf_sb3.language.TokenContexts`
    :param actions: Environment-scale expert actions, ``[K, *action_shape]``
    :param weights: Weight of each row in the imitation loss, ``[K]``; 1 if None
    :param label: Whether the actions are ``"sample"`` or ``"mode"`` of the expert
    :param action_masks: Which actions were allowed in each row, booleans ``[K, n_masks]`` in the layout of
        sb3-contrib's MaskablePPO: ``n_masks`` is ``n`` for Discrete, ``sum(nvec)`` for MultiDiscrete and ``2 * n``
        for MultiBinary spaces. None if every action was.
    :raises FeedbackError: If the numbers of rows differ, observations are not finite, weights are negative or not finite,
        or masks are no booleans
    """

    observations: Any
    actions: np.ndarray
    weights: np.ndarray | None = None
    label: Label = "sample"
    action_masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.label not in ("sample", "mode"):
            raise FeedbackError(f"Demonstrations: label: got {self.label!r}, expected 'sample' or 'mode'.")
        if isinstance(self.observations, dict):
            object.__setattr__(self, "observations", {key: np.array(value) for key, value in self.observations.items()})
        elif not isinstance(self.observations, ObservationRows):
            object.__setattr__(self, "observations", np.array(self.observations))
        object.__setattr__(self, "actions", np.array(self.actions))
        arrays: Any = self.observations if isinstance(self.observations, dict) else {"observations": self.observations}
        lengths = {name: len(array) for name, array in arrays.items()} | {"actions": len(self.actions)}
        weights = np.ones(len(self.actions)) if self.weights is None else np.array(self.weights, dtype=np.float64)
        lengths["weights"] = len(weights)
        if self.action_masks is not None:
            object.__setattr__(self, "action_masks", _as_masks(self.action_masks))
            lengths["action_masks"] = len(self.action_masks)
        if len(set(lengths.values())) > 1 or len(self) == 0:
            raise FeedbackError(f"Demonstrations: got rows {lengths}, expected one equal number above 0 of each.")
        if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any():
            raise FeedbackError("Demonstrations: weights must be one finite number of at least 0 for each row.")
        for name, array in arrays.items():
            _check_finite(array, name if array is self.observations else f"observations[{name!r}]")
        object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.actions)

    def checked(self, observation_space: spaces.Space, action_space: spaces.Space) -> Demonstrations:
        """
        The same rows, checked against an environment's spaces.

        :param observation_space: Space of the raw observations
        :param action_space: Space of the actions
        :return: Rows with arrays of their own, whose actions, and observations of whole numbers, have their space's dtype
        :raises FeedbackError: If shapes or values don't fit (:func:`~nlf_sb3.observation_checks.check_observations`), or a
            mask forbids its own row's action
        """
        actions = check_actions(self.actions, action_space, len(self), "demonstrations")
        observations = check_observations(self.observations, observation_space, len(self))
        if self.action_masks is not None:
            check_allowed(actions, self.action_masks, action_space, "demonstrations")
        rows = copy.copy(self)  # not made anew, which would check and copy all of it again
        own = {"observations": _as_own(observations, self.observations), "actions": _as_own(actions, self.actions)}
        own |= {"weights": copy_value(self.weights), "action_masks": copy_value(self.action_masks)}
        for name, value in own.items():
            object.__setattr__(rows, name, value)
        return rows

    @classmethod
    def from_segments(cls, segments: Iterable[ExpertSegment], *, label: Label = "sample") -> Demonstrations:
        """
        The expert's own steps of injected episodes: the rows from each segment's ``fork_step`` on.

        :param segments: Injected episodes of one environment
        :param label: Whether the expert's actions were ``"sample"`` or ``"mode"``
        :return: Their rows, in order
        :raises FeedbackError: If the expert took no step in any of them
        """
        parts = [segment for segment in segments if segment.fork_step < len(segment)]
        if not parts:
            raise FeedbackError("Demonstrations.from_segments: got no segment with a step of the expert's, expected one.")
        observations: list[Any] = [rows_from(part.observations, part.fork_step) for part in parts]
        actions = np.concatenate([part.actions[part.fork_step :] for part in parts])
        return cls(join_observations(observations), actions, label=label)

    def save(self, path: str | Path) -> None:
        """
        Write a ``.npz`` that :meth:`load` reads: one array for each field, ``observations/<key>`` for dicts.

        :param path: The file; ``.npz`` is appended where it is missing
        :raises FeedbackError: If a field can't be written without pickling, or a key is no name for an array
        """
        arrays: dict[str, Any] = {"actions": self.actions, "weights": self.weights, "label": np.array(self.label)}
        if isinstance(self.observations, dict):
            arrays |= {f"{_OF_DICT}{key}": value for key, value in self.observations.items()}
        else:
            arrays["observations"] = self.observations
        if self.action_masks is not None:
            arrays["action_masks"] = self.action_masks
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Demonstrations:
        """
        Read what :meth:`save` wrote, or any ``.npz`` of arrays ``observations`` (or ``observations/<key>`` for dicts),
        ``actions`` and, if they are there, ``weights``, ``label`` and ``action_masks``. Nothing is unpickled.

        :param path: The file, with or without ``.npz``
        :return: The rows
        :raises FileNotFoundError: If there is no such file
        :raises FeedbackError: If it is another kind of file, or arrays are missing, unknown or don't fit together
        """
        arrays = read_npz(path)
        observations: Any = arrays.pop("observations", None)
        of_dict = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_OF_DICT)}
        known = {"actions", "weights", "label", "action_masks"}
        if (observations is None) == (not of_dict) or "actions" not in arrays or not set(arrays) <= known:
            came = sorted([*arrays, *of_dict, *([] if observations is None else ["observations"])])
            raise FeedbackError(
                f"Demonstrations.load: {path} holds {', '.join(came) or 'no arrays'}; expected actions, observations "
                f"(or {_OF_DICT}<key> for dict observations) and nothing else but weights, label and action_masks."
            )
        if of_dict:
            observations = {name.removeprefix(_OF_DICT): array for name, array in of_dict.items()}
        label: Any = str(arrays.pop("label", "sample"))
        try:
            return cls(observations, label=label, **arrays)
        except FeedbackError as error:
            raise FeedbackError(f"Demonstrations.load: {path}: {error}") from error


def _as_own(value: Any, given: Any) -> Any:
    """The same, copied unless a cast has done so."""
    if isinstance(value, dict):
        return {key: _as_own(array, given[key]) for key, array in value.items()}
    return copy_value(value) if value is given or np.may_share_memory(value, given) else value


def _check_finite(array: Any, name: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return
    rows = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if len(rows):
        raise FeedbackError(
            f"Demonstrations: {name}: row {rows[0]} holds NaN or infinity ({len(rows)} of {len(array)} rows do), expected "
            "finite numbers. Mend or leave out such rows."
        )


def _as_masks(masks: Any) -> np.ndarray:
    array = np.asarray(masks)
    if array.ndim != 2 or not (array.dtype == bool or (array.dtype.kind in "iu" and np.isin(array, (0, 1)).all())):
        raise FeedbackError(
            f"Demonstrations: action_masks: got shape {array.shape} of {array.dtype}, expected booleans [K, n_masks]: "
            "one row for each action, true where an action was allowed."
        )
    return array.astype(bool)
