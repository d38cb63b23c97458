"""The expert's part in an injected episode: the record that travels in the info of its last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nlf_sb3.errors import FeedbackError
from nlf_sb3.infos import copy_value
from nlf_sb3.observations import ObservationRows, index_observations

Observations = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ExpertSegment:
    """
    An episode that starts as the agent's and ends as the expert's. It keeps copies of the arrays that it is given.

    :param observations: What was acted in, ``[T, *obs_shape]`` (a dict of such arrays for dict spaces, or
        :class:`~nlf_sb3.language.TokenContexts`)
    :param actions: Environment-scale actions, ``[T, *action_shape]``: the agent's before
        ``fork_step``, the expert's from there on
    :param rewards: ``[T]``
    :param terminated: Whether the episode ended in a terminal state
    :param truncated: Whether a time limit ended it. With both False it was cut by ``max_segment_steps``.
    :param last_observation: The observation after the last step, ``[*obs_shape]``
    :param fork_step: How many leading steps are the agent's
    :param expert_log_probs: log pi_E of the expert's actions in the environment's units
        (:meth:`~nlf_sb3.teachers.Expert.log_density`), ``[T - fork_step]``, if it is known
    :param action_masks: What the environment allowed, ``[T, n_choices]``, if it masks actions
    :raises FeedbackError: If the numbers of rows differ, or a reward is not finite
    """

    observations: Observations | ObservationRows
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    last_observation: Observations
    fork_step: int
    expert_log_probs: np.ndarray | None = None
    action_masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("observations", "actions", "rewards", "last_observation", "expert_log_probs", "action_masks"):
            object.__setattr__(self, name, copy_value(getattr(self, name)))
        observations = self.observations if isinstance(self.observations, dict) else {"observations": self.observations}
        lengths = {name: len(rows) for name, rows in observations.items()}
        lengths |= {"actions": len(self.actions), "rewards": len(self.rewards)}
        if self.action_masks is not None:
            lengths["action_masks"] = len(self.action_masks)
        if len(set(lengths.values())) > 1 or len(self.rewards) == 0:
            raise FeedbackError(f"ExpertSegment: got rows {lengths}, expected one equal number above 0 of each.")
        if not np.isfinite(self.rewards).all():
            raise FeedbackError("ExpertSegment: rewards hold NaN or infinity, expected finite numbers.")
        if not 0 <= self.fork_step <= len(self.rewards):
            raise FeedbackError(f"ExpertSegment: got fork_step {self.fork_step}, expected 0 to {len(self.rewards)}.")

    def __len__(self) -> int:
        return len(self.rewards)

    def __deepcopy__(self, memo: dict[int, Any]) -> ExpertSegment:
        # Thousands of rows that nobody writes to: DummyVecEnv's copy of every info may share them.
        return self


def stack_observations(observations: list[Any]) -> Observations:
    """
    Stack single observations along a new first axis.

    :param observations: Arrays ``[*obs_shape]``, or dicts of them
    :return: ``[T, *obs_shape]``, or a dict of such arrays
    """
    if isinstance(observations[0], dict):
        return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
    return np.stack(observations)


def rows_from(observations: Observations | ObservationRows, start: int) -> Observations:
    """
    :param observations: ``[T, *obs_shape]`` or a dict of such
    :param start: The first row wanted
    :return: Rows ``start`` to T
    """
    return index_observations(observations, slice(start, None))  # type: ignore[no-any-return]
