"""imitation's serialised trajectories, written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.interop.imitation.casting import cast_observations, unwrap
from nlf_sb3.interop.imitation.to_imitation import to_trajectories
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.validation import check_actions

if TYPE_CHECKING:
    from imitation.data.types import Trajectory


def save_trajectories(path: str | Path, records: Iterable[ExpertSegment | Trajectory]) -> None:
    """
    Write a folder that imitation's ``serialize.load`` reads, and :func:`load_trajectories`.

    The format keeps no dtypes: pass the spaces when reading. Action masks travel in the infos
    (:func:`~nlf_sb3.interop.imitation.to_trajectories`). Demonstrations are single rows, without the order of
    trajectories: write them with :meth:`~nlf_sb3.Demonstrations.save`.

    :param path: The folder
    :param records: Segments, of which the expert's steps are written, or trajectories of imitation
    :raises FeedbackError: For dict observations, which the format can't hold
    :raises MissingExtraError: Without imitation
    """
    serialize = require("imitation.data.serialize", "imitation", "save_trajectories")
    several = list(records)
    if not several:
        raise FeedbackError("save_trajectories: got nothing to write, expected segments or trajectories.")
    trajectories = [to_trajectories(item)[0] if isinstance(item, ExpertSegment) else item for item in several]
    if any(isinstance(unwrap(trajectory.obs), dict) for trajectory in trajectories):
        raise FeedbackError(
            "save_trajectories: imitation's files hold no dict observations. Flatten them, or write the rows with "
            "Demonstrations.save: to_demonstrations(trajectories).save(path)."
        )
    serialize.save(str(path), trajectories)


def load_trajectories(
    path: str | Path,
    *,
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
) -> list[Trajectory]:
    """
    Read what imitation's ``serialize.save`` or :func:`save_trajectories` wrote, or the ``.npz`` and pickle files of
    imitation's early releases.

    Such files can run code when they are read (the infos are unpickled): load only what you trust.

    :param path: The folder or file
    :param observation_space: Gives observations their dtype; None leaves them as read, in 64 bits
    :param action_space: Gives actions their dtype and checks them; None leaves them as read
    :return: The trajectories, with rewards where the file has any
    :raises FileNotFoundError: If there is nothing
    :raises FeedbackError: If they don't fit the spaces
    :raises MissingExtraError: Without imitation
    """
    serialize = require("imitation.data.serialize", "imitation", "load_trajectories")
    types = require("imitation.data.types", "imitation", "load_trajectories")
    if not Path(path).exists():
        raise FileNotFoundError(f"load_trajectories: there is no {path}. Write one with save_trajectories.")
    trajectories = []
    for trajectory in serialize.load(str(path)):
        observations = cast_observations(unwrap(trajectory.obs), observation_space)
        actions = np.asarray(trajectory.acts)
        if action_space is not None:
            actions = check_actions(actions, action_space, len(actions), "actions")
        trajectories.append(
            dataclasses.replace(
                trajectory,
                obs=types.maybe_wrap_in_dictobs(observations),
                acts=actions,
                infos=None if trajectory.infos is None else np.array(list(trajectory.infos), dtype=object),
                terminal=bool(trajectory.terminal),
            )
        )
    return trajectories
