"""imitation's trajectories and transitions as segments and demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Label
from nlf_sb3.interop.imitation import side_notes
from nlf_sb3.interop.imitation.casting import cast_observations, unwrap
from nlf_sb3.segments import ExpertSegment, Observations
from nlf_sb3.validation import check_actions

if TYPE_CHECKING:
    from imitation.data.types import Trajectory, TransitionsMinimal


def to_segments(
    trajectories: Trajectory | Iterable[Trajectory],
    *,
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
    truncated: bool | None = None,
) -> list[ExpertSegment]:
    """
    Trajectories of imitation as segments: all of a trajectory is the expert's, unless :func:`to_trajectories` noted a fork.

    Infos are left behind, but for what :func:`to_trajectories` put there.

    :param trajectories: One or several, with rewards
    :param observation_space: Gives observations their dtype; None leaves it
    :param action_space: Gives actions their dtype and checks them; None leaves them
    :param truncated: Whether a time limit ended the episodes that ended. None asks the last info for SB3's
        ``"TimeLimit.truncated"``; without it an episode ended in a terminal state. imitation's ``rollout`` drops infos
        unless it is told ``exclude_infos=False``: say True here if a time limit ended those episodes.
    :return: One segment for each trajectory
    :raises FeedbackError: If one has no rewards, or doesn't fit the spaces
    """
    segments = []
    for trajectory in _as_list(trajectories, "Trajectory"):
        rewards = getattr(trajectory, "rews", None)
        if rewards is None:
            raise FeedbackError(
                f"to_segments: got a {type(trajectory).__name__} without rewards, which an ExpertSegment needs. "
                "Imitate it instead: to_demonstrations(trajectory)."
            )
        observations = cast_observations(unwrap(trajectory.obs), observation_space)
        infos, n_steps = trajectory.infos, len(trajectory.acts)
        by_limit = bool(infos is not None and infos[-1].get(side_notes.TIME_LIMIT, False)) if truncated is None else truncated
        fork = side_notes.take(infos, "fork_step")
        fork_step = 0 if fork is None else int(fork[0])
        segments.append(
            ExpertSegment(
                observations=_rows(observations, slice(0, n_steps)),
                actions=_actions(trajectory.acts, action_space),
                rewards=np.asarray(rewards),
                terminated=bool(trajectory.terminal and not by_limit),
                truncated=bool(trajectory.terminal and by_limit),
                last_observation=_rows(observations, n_steps),
                fork_step=fork_step,
                expert_log_probs=None if infos is None else side_notes.take(infos[fork_step:], "expert_log_prob"),
                action_masks=side_notes.take(infos, "action_mask"),
            )
        )
    return segments


def to_demonstrations(
    records: TransitionsMinimal | Trajectory | Iterable[Trajectory],
    *,
    label: Label | None = None,
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
) -> Demonstrations:
    """
    Transitions or trajectories of imitation as demonstrations. Rewards, ends and other infos are left behind.

    :param records: ``Transitions`` (or ``TransitionsMinimal``), or one or several trajectories
    :param label: Whether the actions are ``"sample"`` or ``"mode"`` of the expert; None for what :func:`to_transitions`
        noted, ``"sample"`` where it didn't
    :param observation_space: Gives observations their dtype; None leaves it
    :param action_space: Gives actions their dtype and checks them; None leaves them
    :return: One row for each of the expert's steps
    :raises FeedbackError: If something doesn't fit the spaces
    """
    transitions: Any = None if hasattr(records, "terminal") or not hasattr(records, "acts") else records
    if transitions is None:
        parts = [_rows_of_trajectory(trajectory) for trajectory in _as_list(records, "Trajectory or Transitions")]
    else:
        parts = [(unwrap(transitions.obs), np.asarray(transitions.acts), list(transitions.infos))]
    infos = [info for part in parts for info in part[2]]
    labels = side_notes.take(infos, "label")
    if label is None and labels is not None and len(set(labels)) > 1:
        raise FeedbackError("to_demonstrations: rows say both 'sample' and 'mode'. Convert them apart, or pass label=.")
    noted: Any = None if labels is None else str(labels[0])
    return Demonstrations(
        cast_observations(_concatenated([part[0] for part in parts]), observation_space),
        _actions(np.concatenate([part[1] for part in parts]), action_space),
        weights=side_notes.take(infos, "weight"),
        label=label or noted or "sample",
        action_masks=side_notes.take(infos, "action_mask"),
    )


def _rows_of_trajectory(trajectory: Any) -> tuple[Observations, np.ndarray, list[Any]]:
    n_steps = len(trajectory.acts)
    infos = [{}] * n_steps if trajectory.infos is None else list(trajectory.infos)
    fork = side_notes.take(infos, "fork_step")
    own = slice(0 if fork is None else int(fork[0]), n_steps)
    return _rows(unwrap(trajectory.obs), own), np.asarray(trajectory.acts)[own], infos[own]


def _as_list(records: Any, expected: str) -> Sequence[Any]:
    several = [records] if hasattr(records, "acts") else list(records)
    if not several or not all(hasattr(record, "acts") and hasattr(record, "terminal") for record in several):
        came = ", ".join(sorted({type(record).__name__ for record in several})) or "nothing"
        raise FeedbackError(f"got {came}, expected imitation's {expected}, one or several.")
    return several


def _actions(actions: Any, space: spaces.Space | None) -> np.ndarray:
    return np.asarray(actions) if space is None else check_actions(actions, space, len(actions), "actions")


def _rows(observations: Observations, rows: Any) -> Any:
    return {k: v[rows] for k, v in observations.items()} if isinstance(observations, dict) else observations[rows]


def _concatenated(parts: list[Any]) -> Observations:
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)
