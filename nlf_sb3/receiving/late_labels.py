"""Labels of steps that the rollout buffer no longer holds go to the label replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.feedback import Feedback
from nlf_sb3.masks import check_allowed
from nlf_sb3.objectives.policy_rows import observations_as_rows
from nlf_sb3.observations import as_arrays
from nlf_sb3.receiving.recent_steps import RecentSteps, StepId
from nlf_sb3.rows import LabelledRows


class LateLabels:
    """
    Keeps the latest steps, if labels are replayed, and makes rows of labels that arrive after their rollout.

    :param adapter: Of the model's algorithm
    :param replay: Called with the rows
    """

    def __init__(self, adapter: Adapter, replay: Callable[[LabelledRows], None]) -> None:
        self._model: Any = adapter.model
        self._replay = replay
        self._recent: RecentSteps | None = None

    def begin(self, *, is_reset: bool) -> None:
        """
        Begin a training.

        :param is_reset: Whether the environments begin anew
        """
        replay = self._model.imitation.replay
        if replay is None or not replay.late_steps:
            self._recent = None
        elif is_reset or self._recent is None:
            self._recent = RecentSteps(replay.late_steps)

    def note_step(self, observations: Any, action_masks: np.ndarray | None) -> None:
        """
        :param observations: The states that the policy acted in, ``[n_envs, *obs_shape]`` or a dict of such
        :param action_masks: The choices that were allowed, ``[n_envs, n_choices]``; None without masks
        """
        if self._recent is not None:
            self._recent.add(observations, action_masks)

    def keep(self, env: int, feedback: Feedback, action: np.ndarray) -> bool:
        """
        :param env: Index of the environment that it came from
        :param feedback: Feedback about an earlier rollout's step
        :param action: Its expert action, checked
        :return: Whether the label goes to the replay; False if the step is forgotten
        """
        recent, model = self._recent, self._model
        if recent is None or feedback.weight < 0:
            return False
        step = StepId(env, recent.n_steps - 1 - feedback.steps_ago)
        if not recent.holds(step):
            return False
        masks = recent.action_masks(step)
        if masks is not None:
            check_allowed(action[None], masks, model.action_space, "label")
        self._replay(
            LabelledRows(
                as_arrays(observations_as_rows(model.policy, recent.observation(step))),
                action[None],
                np.array([feedback.weight], dtype=np.float32),
                np.array([feedback.label == "mode"]),
                masks,
            )
        )
        return True
