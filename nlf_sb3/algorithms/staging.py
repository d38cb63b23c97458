"""Injected episodes and executed actions on their way from step infos into the rollout buffer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nlf_sb3.algorithms.checking import ChecksSteps
from nlf_sb3.algorithms.imitation import in_policy_scale
from nlf_sb3.algorithms.injection_weights import check_expert_log_probs
from nlf_sb3.algorithms.shifted_spaces import check_counts_from_zero
from nlf_sb3.algorithms.statistics import FeedbackStatistics
from nlf_sb3.algorithms.token_policies import check_takes
from nlf_sb3.algorithms.vec_envs import check_vec_wrappers
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXECUTED_ACTION_KEY, EXPERT_SEGMENT_KEY
from nlf_sb3.foreign_vec_envs import ask_wrappers, innermost
from nlf_sb3.infos import Takeover, is_meant_as
from nlf_sb3.observation_checks import check_observations
from nlf_sb3.observations import ObservationRows
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.teachers.experts import single_row
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection


class StagesInjection(ChecksSteps):
    """Checks what an expert did in an environment, and hands it to the rollout buffer."""

    rollout_buffer: Any
    """A :class:`~nlf_sb3.buffers.FeedbackBufferMixin` of whatever class the algorithm uses."""
    _statistics: FeedbackStatistics

    def _check_settings(self) -> None:
        super()._check_settings()
        for name in ("action_space", "observation_space"):
            try:
                check_counts_from_zero(getattr(self, name), name)
            except FeedbackError:
                if self._means_choices():
                    raise

    def _means_choices(self) -> bool:
        """Whether feedback is promised that names actions of the environment, or observations."""
        if any(given is not None for given in (self.expert, self.demonstrations, self.interpreter)):
            return True
        return any(self._promises_labels()) or (self.env is not None and bool(self._injection_modes()))

    def _promises_labels(self) -> list[bool]:
        """Of each FeedbackWrapper, whether a teacher of it is an expert."""
        return [] if self.env is None else [*ask_wrappers(self.env, FeedbackWrapper, "nlf_sb3_labels_actions").values()]

    def _prepare_for_injection(self) -> None:
        assert self.env is not None
        modes = self._injection_modes()
        if "fork" in modes:
            check_vec_wrappers(self.env)
            self.rollout_buffer.keep_episode_actions()
        here = sorted(modes - {"fork"})
        if here:
            self._check_takeovers(here[0])
        if here and "fork" not in modes and self.injection_prefix != "twice":
            raise FeedbackError(
                f"injection_prefix={self.injection_prefix!r} leaves out a forked episode's copy of the agent's steps; with "
                f"mode={here[0]!r} there is no copy. Leave injection_prefix at its default."
            )

    def _check_takeovers(self, mode: str) -> None:
        """Raise on settings that don't go with an expert's steps as rows of the rollout."""
        if self.injection == "separate":
            raise FeedbackError(
                f"injection='separate' gives forked episodes an update of their own; with mode={mode!r} the expert's steps "
                "are rows of the rollout. Use injection='bounded' or 'plain'."
            )

    def _injection_modes(self) -> set[str]:
        """The modes of the environments' TrajectoryInjection, if they have any."""
        assert self.env is not None
        return set(ask_wrappers(self.env, TrajectoryInjection, "nlf_sb3_injection_mode").values())

    def _expert_acts_here(self) -> bool:
        """Whether an expert acts in the agent's own environments, so that its steps are rows of the rollout."""
        return bool(self._injection_modes() - {"fork"})

    def _stage_executed(self, env: int, takeover: Takeover) -> None:
        log_prob = takeover.log_prob
        try:
            check_counts_from_zero(self.action_space, "action_space")
            action = check_actions(np.asarray(takeover.action)[None], self.action_space, 1, "executed action", is_single=True)
            if self._expert_weights().needs_expert:
                check_expert_log_probs(None if log_prob is None else [log_prob], 1, "executed action")
        except FeedbackError as error:  # on_error="skip" can't help: the row would pass for the agent's own
            raise FeedbackError(f"environment {env}, step {self.num_timesteps}: {error}") from error
        proposed = in_policy_scale(self.policy, action)[0]
        self.rollout_buffer.add_executed(env, proposed, log_prob)
        self.num_expert_steps += 1
        self._statistics.count_executed()

    def _stage_segment(self, env: int, segment: Any) -> None:
        if not isinstance(segment, ExpertSegment):
            self._pass_over(env, EXPERT_SEGMENT_KEY, segment, ExpertSegment)
            return
        check_takes(self.policy_class, segment.observations, "expert segment")
        check_counts_from_zero(self.action_space, "action_space")
        check_actions(segment.actions, self.action_space, len(segment), "expert segment")
        self._check_observed(segment)
        if self._expert_weights().needs_expert:
            check_expert_log_probs(segment.expert_log_probs, len(segment) - segment.fork_step, "expert segment")
        self._check_segment(segment)
        if segment.fork_step > 0:
            self.rollout_buffer.keep_episode_actions()  # from now on, where the wrapper couldn't be asked beforehand
        if not self.rollout_buffer.add_segment(env, segment, self._as_executed):
            self._statistics.dropped_segments += 1
            return
        self.num_expert_steps += len(segment) - segment.fork_step
        self._statistics.count_segment(segment)

    def _pass_over(self, env: int, key: str, value: Any, record: type) -> None:
        """
        Leave alone what others put into infos by a key of ours, and say so once.

        :param env: Index of the environment
        :param key: The key
        :param value: What it holds
        :param record: What it would hold if it were ours
        :raises FeedbackError: If it is a mistake rather than another library's
        """
        came = f"info[{key!r}] is {type(value).__name__}, expected nlf_sb3.{record.__name__}"
        if is_meant_as(value, record):
            raise FeedbackError(f"{came}. Build one from its parts.")
        if value is None or key in self._statistics.passed_over:
            return
        self._statistics.passed_over.add(key)
        warnings.warn(
            f"environment {env}, step {self.num_timesteps}: {came}. It is taken for another library's, and teaches nothing. "
            f"If it is a person's, make it an nlf_sb3.{record.__name__}.",
            stacklevel=2,
        )

    def _warn_of_unmarked(self, env: int, value: Any) -> None:
        """Say once that what looks like an action that somebody executed counts as the agent's own."""
        if EXECUTED_ACTION_KEY in self._statistics.passed_over or isinstance(value, (str, dict)):
            return
        if np.shape(value) != self.action_space.shape:
            return
        self._statistics.passed_over.add(EXECUTED_ACTION_KEY)
        warnings.warn(
            f"environment {env}, step {self.num_timesteps}: info[{EXECUTED_ACTION_KEY!r}] is taken for another library's, and "
            "the step for the agent's own. If somebody acted in the agent's place, mark it with "
            "info[nlf_sb3.TAKEOVER_KEY] = nlf_sb3.Takeover(action).",
            stacklevel=2,
        )

    def _check_observed(self, segment: ExpertSegment) -> None:
        """Raise on observations that are none of the environment's space."""
        assert self.env is not None
        space: Any = innermost(self.env).observation_space
        if isinstance(segment.observations, ObservationRows):
            return
        check_observations(segment.observations, space, len(segment), "expert segment", boxes_are_strict=False)
        last = single_row(segment.last_observation)
        check_observations(last, space, 1, "expert segment, last observation", boxes_are_strict=False)

    def _check_segment(self, segment: ExpertSegment) -> None:
        """Raise on what this algorithm can't train on."""
