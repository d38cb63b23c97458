"""Ask an expert for one action in an environment, within its action masks if it has any."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from nlf_sb3.infos import copy_value
from nlf_sb3.masks import check_allowed
from nlf_sb3.teachers.experts import Expert, hint_at_rows, single_row
from nlf_sb3.validation import check_actions


def ask_expert(expert: Expert, observation: Any, space: spaces.Space, masks: np.ndarray | None) -> np.ndarray:
    """
    :param expert: The expert
    :param observation: One raw observation
    :param space: The action space
    :param masks: What the environment allows, ``[n_choices]``, or None
    :return: An environment-scale action, ``[*action_shape]``, which the expert doesn't hold. It may change what it is shown.
    :raises FeedbackError: If the answer is no action of the space, or one that the mask forbids
    """
    rows = single_row(copy_value(observation))
    try:
        answer = expert.act(rows) if masks is None else expert.act_within(rows, masks[None].copy())
        actions = check_actions(answer, space, 1)
    except Exception as error:
        hint_at_rows(expert, error)
        raise
    if masks is None:
        return copy_value(actions[0])  # type: ignore[no-any-return]
    check_allowed(actions, masks[None], space, row_name=lambda row: "it")
    return copy_value(actions[0])  # type: ignore[no-any-return]


class MaskReader:
    """
    Says which choices an environment allows now, as ``[n_choices]`` booleans of its own; None where it has no masks.

    :param env: An environment, which masks actions if it has a method ``action_masks``, as in sb3-contrib
    """

    def __init__(self, env: gym.Env) -> None:
        self._action_masks: Callable[[], Any] | None = None
        if isinstance(env.action_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            with contextlib.suppress(AttributeError):
                method = env.get_wrapper_attr("action_masks")
                self._action_masks = method if callable(method) else None

    def __call__(self) -> np.ndarray | None:
        return None if self._action_masks is None else np.array(self._action_masks(), dtype=bool).reshape(-1)
