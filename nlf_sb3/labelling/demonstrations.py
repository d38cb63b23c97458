"""Rows that the rollout does not hold: recorded demonstrations, and the expert's steps of injected episodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlf_sb3.objectives.injected_episodes import experts_steps
from nlf_sb3.objectives.policy_rows import observations_as_rows
from nlf_sb3.observations import as_arrays, draw_rows, index_observations
from nlf_sb3.rows import LabelledRows
from nlf_sb3.validation import check_actions
from nlf_sb3.vec_envs import to_policy_observations


def drawn_demonstrations(model: Any, rng: np.random.Generator) -> LabelledRows | None:
    """
    :param model: The algorithm's model
    :param rng: Draws the rows
    :return: At most as many of its demonstrations as the rollout has rows; None without demonstrations
    """
    demonstrations = model.demonstrations
    if demonstrations is None:
        return None
    n_rows = min(len(demonstrations), len(model.rollout_buffer.row_indices()))
    chosen = draw_rows(demonstrations.observations, len(demonstrations), n_rows, rng)
    picked = index_observations(demonstrations.observations, chosen)
    masks = demonstrations.action_masks
    return LabelledRows(
        as_arrays(observations_as_rows(model.policy, to_policy_observations(model.env, picked))),
        check_actions(demonstrations.actions[chosen], model.action_space, n_rows, "demonstrations"),
        demonstrations.weights[chosen],
        np.full(n_rows, demonstrations.label == "mode"),
        None if masks is None else masks[chosen],
    )


def imitated_segments(model: Any) -> LabelledRows | None:
    """
    :param model: The algorithm's model
    :return: The expert's steps of the rollout's injected episodes, with ``segments="imitate"``; None without such steps
    """
    segments = [segment for segment, _ in model.rollout_buffer.segments if segment.fork_step < len(segment)]
    if model.injection.segments != "imitate" or not segments:
        return None
    return experts_steps(model.policy, model.env, segments)
