"""Injected episodes and executed actions on their way from step infos into the rollout buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.algorithms.checking import ChecksSteps
from nlf_sb3.algorithms.imitation import in_policy_scale
from nlf_sb3.algorithms.injection_weights import check_expert_log_probs
from nlf_sb3.algorithms.statistics import FeedbackStatistics
from nlf_sb3.algorithms.vec_envs import check_vec_wrappers
from nlf_sb3.algorithms.wrapper_order import ask_wrappers
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXECUTED_ACTION_KEY, EXECUTED_LOG_PROB_KEY, EXPERT_SEGMENT_KEY
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers import TrajectoryInjection


class StagesInjection(ChecksSteps):
    """Checks what an expert did in an environment, and hands it to the rollout buffer."""

    rollout_buffer: Any
    """A :class:`~nlf_sb3.buffers.FeedbackBufferMixin` of whatever class the algorithm uses."""
    _statistics: FeedbackStatistics

    def _prepare_for_injection(self) -> None:
        assert self.env is not None
        modes = self._injection_modes()
        if "fork" in modes:
            check_vec_wrappers(self.env)
            self.rollout_buffer.keep_episode_actions()
        here = sorted(modes - {"fork"})
        if here and self.injection == "separate":
            raise FeedbackError(
                f"injection='separate' gives forked episodes an update of their own; with mode={here[0]!r} the expert's steps "
                "are rows of the rollout. Use injection='bounded' or 'plain'."
            )
        if here and "fork" not in modes and self.injection_prefix != "twice":
            raise FeedbackError(
                f"injection_prefix={self.injection_prefix!r} leaves out a forked episode's copy of the agent's steps; with "
                f"mode={here[0]!r} there is no copy. Leave injection_prefix at its default."
            )

    def _injection_modes(self) -> set[str]:
        """The modes of the environments' TrajectoryInjection, if they have any."""
        assert self.env is not None
        return set(ask_wrappers(self.env, TrajectoryInjection, "injection_mode"))

    def _expert_acts_here(self) -> bool:
        """Whether an expert acts in the agent's own environments, so that its steps are rows of the rollout."""
        return bool(self._injection_modes() - {"fork"})

    def _stage_executed(self, env: int, info: dict[str, Any]) -> None:
        log_prob = info.get(EXECUTED_LOG_PROB_KEY)
        try:
            action = check_actions(np.asarray(info[EXECUTED_ACTION_KEY])[None], self.action_space, 1, "executed action")
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
            raise FeedbackError(f"info[{EXPERT_SEGMENT_KEY!r}] is {type(segment).__name__}, expected nlf_sb3.ExpertSegment.")
        check_actions(segment.actions, self.action_space, len(segment), "expert segment")
        if self._expert_weights().needs_expert:
            check_expert_log_probs(segment.expert_log_probs, len(segment) - segment.fork_step, "expert segment")
        self._check_segment(segment)
        if not self.rollout_buffer.add_segment(env, segment, self._prefix_as_executed):
            self._statistics.dropped_segments += 1
            return
        self.num_expert_steps += len(segment) - segment.fork_step
        self._statistics.count_segment(segment)

    def _check_segment(self, segment: ExpertSegment) -> None:
        """Raise on what this algorithm can't train on."""

    def _prefix_as_executed(self, actions: np.ndarray) -> np.ndarray:
        """Proposed actions, ``[n, action_dim]``, as the environment got them: rescaled or clipped."""
        space = self.action_space
        actions = actions.reshape(len(actions), *(space.shape or ()))
        if isinstance(space, spaces.Box):
            return (
                self.policy.unscale_action(actions) if self.policy.squash_output else np.clip(actions, space.low, space.high)
            )
        return actions
