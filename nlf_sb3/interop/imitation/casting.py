"""Give observations the dtype of their space again: imitation's serialiser turns floats into float64, integers into int64."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.observation_checks import check_rows
from nlf_sb3.segments import Observations


def unwrap(observations: Any) -> Observations:
    """
    :param observations: An array, a dict of arrays or imitation's ``DictObs``
    :return: An array or a dict of arrays
    """
    if isinstance(observations, dict):
        return {key: np.asarray(value) for key, value in observations.items()}
    if hasattr(observations, "unwrap"):
        return observations.unwrap()  # type: ignore[no-any-return]
    return np.asarray(observations)


def cast_observations(observations: Observations, space: spaces.Space | None, name: str = "observations") -> Observations:
    """
    :param observations: ``[n, *obs_shape]`` or a dict of such
    :param space: Their space; None leaves them as they are
    :param name: What they are called in the error message
    :return: The same, with the dtype of the space
    :raises FeedbackError: If shapes or keys don't fit, or a whole number is none of the space's
    """
    if space is None:
        return observations
    if isinstance(observations, dict) != isinstance(space, spaces.Dict):
        raise FeedbackError(f"{name}: got {type(observations).__name__}, expected observations of {space}.")
    if isinstance(observations, dict):
        assert isinstance(space, spaces.Dict)
        if set(observations) != set(space.spaces):
            raise FeedbackError(f"{name}: got keys {sorted(observations)}, expected {sorted(space.spaces)}.")
        parts = {key: cast_observations(observations[key], space[key], f"{name}[{key!r}]") for key in observations}
        return parts  # type: ignore[return-value]
    if observations.shape[1:] != (space.shape or ()):
        raise FeedbackError(f"{name}: got shape {observations.shape}, expected [n, *{space.shape}] for {space}.")
    return check_rows(observations, space, len(observations), name, boxes_are_strict=False).astype(space.dtype, copy=False)
