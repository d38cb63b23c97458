"""Segments and demonstrations as imitation's trajectories and transitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.interop.imitation import side_notes
from nlf_sb3.observations import append_observation
from nlf_sb3.segments import ExpertSegment, Observations, rows_from

if TYPE_CHECKING:
    from imitation.data.types import TrajectoryWithRew, TransitionsMinimal


def to_trajectories(
    segments: ExpertSegment | Iterable[ExpertSegment], *, expert_steps_only: bool = True
) -> list[TrajectoryWithRew]:
    """
    Segments as trajectories of imitation.

    imitation takes every action of a trajectory for the expert's. By default a trajectory therefore starts where the
    expert took over. ``terminal`` is true where the episode ended, in a terminal state or at a time limit, as in
    imitation; which of the two stands in the last info, under SB3's ``"TimeLimit.truncated"``. Action masks and the
    expert's log-probabilities travel in the infos
    (:data:`~nlf_sb3.interop.imitation.side_notes.KEY`), as does ``fork_step``.

    :param segments: One or several
    :param expert_steps_only: Leave out the agent's steps before the fork
    :return: One trajectory for each segment, with rewards
    :raises FeedbackError: If the expert took no step in one of them, or for demonstrations
    :raises MissingExtraError: Without imitation
    """
    types = require("imitation.data.types", "imitation", "nlf_sb3.interop.imitation")
    if isinstance(segments, Demonstrations):
        raise FeedbackError(
            "to_trajectories: got Demonstrations, whose rows have no order, expected segments. Use to_transitions."
        )
    trajectories = []
    for segment in [segments] if isinstance(segments, ExpertSegment) else segments:
        first = segment.fork_step if expert_steps_only else 0
        if first == len(segment):
            raise FeedbackError("to_trajectories: the expert took no step in a segment. Leave such segments out.")
        infos = _infos_of(segment)[first:]
        if not expert_steps_only and segment.fork_step:
            side_notes.put(infos, "fork_step", np.full(len(infos), segment.fork_step))
        observations = append_observation(segment.observations, segment.last_observation)
        rewards = np.array(segment.rewards[first:])
        trajectories.append(
            types.TrajectoryWithRew(
                obs=types.maybe_wrap_in_dictobs(rows_from(observations, first)),
                acts=np.array(segment.actions[first:]),
                infos=np.array(infos, dtype=object),
                terminal=bool(segment.terminated or segment.truncated),
                rews=rewards if rewards.dtype.kind == "f" else rewards.astype(np.float64),
            )
        )
    return trajectories


def _infos_of(segment: ExpertSegment) -> list[dict[str, Any]]:
    infos: list[dict[str, Any]] = [{} for _ in range(len(segment))]
    infos[-1][side_notes.TIME_LIMIT] = bool(segment.truncated and not segment.terminated)
    if segment.action_masks is not None:
        side_notes.put(infos, "action_mask", np.asarray(segment.action_masks, dtype=bool))
    if segment.expert_log_probs is not None:
        side_notes.put(infos[segment.fork_step :], "expert_log_prob", segment.expert_log_probs)
    return infos


def to_transitions(records: Demonstrations | ExpertSegment | Iterable[ExpertSegment]) -> TransitionsMinimal:
    """
    Segments as imitation's ``Transitions``, which its algorithms take, or demonstrations as its ``TransitionsMinimal``.

    Demonstrations don't say what came after a row, and imitation 1.0.1 batches no transitions without that: even its
    ``BC``, which has no use for it, raises ``KeyError: 'next_obs'``. Clone demonstrations with
    :func:`~nlf_sb3.interop.imitation.clone` or :func:`~nlf_sb3.interop.imitation.warm_start`, which train by ``BC``.
    imitation trains all rows alike: weights, label and action masks only travel in the infos
    (:data:`~nlf_sb3.interop.imitation.side_notes.KEY`), and :func:`to_demonstrations` brings them back.

    :param records: Demonstrations, or the segments whose expert steps are wanted
    :return: One row for each of the expert's steps
    :raises MissingExtraError: Without imitation
    """
    if not isinstance(records, Demonstrations):
        rollout = require("imitation.data.rollout", "imitation", "nlf_sb3.interop.imitation")
        return rollout.flatten_trajectories_with_rew(to_trajectories(records))  # type: ignore[no-any-return]
    types = require("imitation.data.types", "imitation", "nlf_sb3.interop.imitation")
    infos: list[dict[str, Any]] = [{} for _ in range(len(records))]
    side_notes.put(infos, "weight", records.weights)
    side_notes.put(infos, "label", [records.label] * len(records))
    if records.action_masks is not None:
        side_notes.put(infos, "action_mask", records.action_masks)
    observations = types.maybe_wrap_in_dictobs(_copied(records.observations))
    return types.TransitionsMinimal(  # type: ignore[no-any-return]
        obs=observations, acts=records.actions.copy(), infos=np.array(infos, dtype=object)
    )


def _copied(observations: Observations) -> Observations:
    # imitation makes the arrays of its transitions read-only; ours stay as they are.
    return {k: v.copy() for k, v in observations.items()} if isinstance(observations, dict) else observations.copy()
