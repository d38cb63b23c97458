"""Ask an expert for one action in an environment, within its action masks if it has any."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from nlf_sb3.teachers.experts import Expert, single_row
from nlf_sb3.validation import check_actions


def ask_expert(expert: Expert, observation: Any, space: spaces.Space, masks: np.ndarray | None) -> np.ndarray:
    """
    :param expert: The expert
    :param observation: One raw observation
    :param space: The action space
    :param masks: What the environment allows, ``[n_choices]``, or None
    :return: An environment-scale action, ``[*action_shape]``
    :raises FeedbackError: If the answer is no action of the space
    """
    rows = single_row(observation)
    answer = expert.act(rows) if masks is None else expert.act_within(rows, masks[None])
    return check_actions(answer, space, 1)[0]  # type: ignore[no-any-return]


def read_action_masks(env: gym.Env) -> np.ndarray | None:
    """
    :param env: An environment, which masks actions if it has a method ``action_masks``, as in sb3-contrib
    :return: What it allows now, ``[n_choices]`` booleans, or None
    """
    try:
        action_masks = env.get_wrapper_attr("action_masks")
    except AttributeError:
        return None
    return np.asarray(action_masks(), dtype=bool).reshape(-1)
