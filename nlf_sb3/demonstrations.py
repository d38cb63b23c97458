"""Expert rows that nobody visited during training: weighted pairs of observation and action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Label
from nlf_sb3.segments import Observations
from nlf_sb3.validation import check_actions


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """
    Rows (s, a, w) for the imitation loss.

    >>> import numpy as np
    >>> len(Demonstrations(np.zeros((3, 4)), np.array([0, 1, 1])))
    3

    :param observations: Raw observations, ``[K, *obs_shape]`` or a dict of such
    :param actions: Environment-scale expert actions, ``[K, *action_shape]``
    :param weights: Weight of each row in the imitation loss, ``[K]``; 1 if None
    :param label: Whether the actions are ``"sample"`` or ``"mode"`` of the expert
    :raises FeedbackError: If the numbers of rows differ or weights are negative or not finite
    """

    observations: Observations
    actions: np.ndarray
    weights: np.ndarray | None = None
    label: Label = "sample"

    def __post_init__(self) -> None:
        if self.label not in ("sample", "mode"):
            raise FeedbackError(f"Demonstrations: label: got {self.label!r}, expected 'sample' or 'mode'.")
        if isinstance(self.observations, dict):
            object.__setattr__(self, "observations", {key: np.asarray(value) for key, value in self.observations.items()})
        else:
            object.__setattr__(self, "observations", np.asarray(self.observations))
        object.__setattr__(self, "actions", np.asarray(self.actions))
        arrays = self.observations if isinstance(self.observations, dict) else {"observations": self.observations}
        lengths = {name: len(array) for name, array in arrays.items()} | {"actions": len(self.actions)}
        weights = np.ones(len(self.actions)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        lengths["weights"] = len(weights)
        if len(set(lengths.values())) > 1 or len(self) == 0:
            raise FeedbackError(f"Demonstrations: got rows {lengths}, expected one equal number above 0 of each.")
        if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any():
            raise FeedbackError("Demonstrations: weights must be one finite number of at least 0 for each row.")
        object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.actions)

    def checked(self, observation_space: spaces.Space, action_space: spaces.Space) -> Demonstrations:
        """
        The same rows, checked against an environment's spaces.

        :param observation_space: Space of the raw observations
        :param action_space: Space of the actions
        :return: Rows whose actions have the space's dtype
        :raises FeedbackError: If shapes or values don't fit
        """
        actions = check_actions(self.actions, action_space, len(self), "demonstrations")
        for name, array, space in _paired_with_space(self.observations, observation_space):
            shape = (len(self), *(space.shape or ()))
            if np.shape(array) != shape:
                raise FeedbackError(f"demonstrations: {name} has shape {np.shape(array)}, expected {shape} for {space}.")
        return Demonstrations(self.observations, actions, self.weights, self.label)


def _paired_with_space(observations: Observations, space: spaces.Space) -> list[tuple[str, Any, spaces.Space]]:
    if isinstance(observations, dict) != isinstance(space, spaces.Dict):
        raise FeedbackError(f"demonstrations: got {type(observations).__name__} observations for {space}.")
    if not isinstance(observations, dict):
        return [("observations", observations, space)]
    assert isinstance(space, spaces.Dict)
    if set(observations) != set(space.spaces):
        raise FeedbackError(f"demonstrations: got keys {sorted(observations)}, expected {sorted(space.spaces)}.")
    return [(f"observations[{key!r}]", array, space[key]) for key, array in observations.items()]
