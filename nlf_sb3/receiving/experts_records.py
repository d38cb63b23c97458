"""Injected episodes and executed actions on their way into the rollout buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlf_sb3.action_scales import scale_to_policy
from nlf_sb3.adapters.base import Adapter
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.infos import Takeover
from nlf_sb3.objectives.row_weights import check_expert_log_probs, expert_weights_of
from nlf_sb3.observation_checks import check_observations
from nlf_sb3.observations import ObservationRows
from nlf_sb3.receiving.others_entries import OthersEntries
from nlf_sb3.receiving.statistics import FeedbackStatistics
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.shifted_spaces import check_counts_from_zero
from nlf_sb3.teachers.experts import single_row
from nlf_sb3.token_policies import check_takes
from nlf_sb3.validation import check_actions


class ExpertRecords:
    """
    Checks an expert's steps, and hands them to the model's rollout buffer.

    :param adapter: Of the model's algorithm
    :param statistics: Counts the steps
    :param others: Takes entries of others
    """

    def __init__(self, adapter: Adapter, statistics: FeedbackStatistics, others: OthersEntries) -> None:
        self._adapter = adapter
        self._model: Any = adapter.model
        self._statistics = statistics
        self._others = others

    def check_action_scale(self) -> None:
        """
        :raises ValueError: If an expert's actions would mean others than those of the policy
        """
        self._adapter.check_action_scale()

    def add_executed(self, env: int, takeover: Takeover) -> None:
        """
        :param env: Index of the environment
        :param takeover: The expert's action there in the agent's place
        :raises FeedbackError: For a bad action. ``on_error="skip"`` can't help: the row would pass for the agent's own.
        """
        model, log_prob = self._model, takeover.log_prob
        self._adapter.check_action_scale()
        try:
            check_counts_from_zero(model.action_space, "action_space")
            action = check_actions(np.asarray(takeover.action)[None], model.action_space, 1, "executed action", is_single=True)
            if expert_weights_of(model).needs_expert:
                check_expert_log_probs(None if log_prob is None else [log_prob], 1, "executed action")
        except FeedbackError as error:
            raise FeedbackError(f"environment {env}, step {model.num_timesteps}: {error}") from error
        model.rollout_buffer.add_executed(env, scale_to_policy(model.policy, action)[0], log_prob)
        self._statistics.expert_steps += 1
        self._statistics.count_executed()

    def add_segment(self, env: int, segment: Any) -> None:
        """
        :param env: Index of the environment
        :param segment: The entry of its info
        :raises FeedbackError: For a bad segment
        """
        model, buffer = self._model, self._model.rollout_buffer
        if not isinstance(segment, ExpertSegment):
            self._others.pass_over(env, model.num_timesteps, EXPERT_SEGMENT_KEY, segment, ExpertSegment)
            return
        check_counts_from_zero(model.action_space, "action_space")
        check_takes(model.policy_class, segment.observations, "expert segment")
        check_actions(segment.actions, model.action_space, len(segment), "expert segment")
        self._check_observed(segment)
        if expert_weights_of(model).needs_expert:
            check_expert_log_probs(segment.expert_log_probs, len(segment) - segment.fork_step, "expert segment")
        self._adapter.check_segment(segment)
        if segment.fork_step > 0:
            buffer.keep_episode_actions()  # from now on, where the wrapper couldn't be asked beforehand
        if not buffer.add_segment(env, segment, self._adapter.as_executed):
            self._statistics.dropped_segments += 1
            return
        self._statistics.expert_steps += len(segment) - segment.fork_step
        self._statistics.count_segment(segment)

    def _check_observed(self, segment: ExpertSegment) -> None:
        """Raise on observations outside the environment's space."""
        space: Any = innermost(self._model.env).observation_space
        if isinstance(segment.observations, ObservationRows):
            return
        check_observations(segment.observations, space, len(segment), "expert segment", boxes_are_strict=False)
        last = single_row(segment.last_observation)
        check_observations(last, space, 1, "expert segment, last observation", boxes_are_strict=False)
