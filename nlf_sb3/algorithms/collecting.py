"""Feedback on its way from step infos into the rollout buffer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.imitation import in_policy_scale
from nlf_sb3.algorithms.lost_feedback import lost_feedback
from nlf_sb3.algorithms.lost_marks import loses_feedback, why_no_feedback
from nlf_sb3.algorithms.shifted_spaces import check_counts_from_zero
from nlf_sb3.algorithms.staging import StagesInjection
from nlf_sb3.algorithms.statistics import FeedbackStatistics, expert_agreement
from nlf_sb3.algorithms.token_policies import acts_by_tokens
from nlf_sb3.algorithms.vec_envs import innermost_statistics
from nlf_sb3.buffers.labels import NO_LABEL, keep_feedback
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXECUTED_ACTION_KEY, EXPERT_SEGMENT_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.foreign_vec_envs import wrapped_environments
from nlf_sb3.infos import episode_return, failure_of, takeover_of
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.segments import Observations
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers import FeedbackWrapper


class CollectsFeedback(StagesInjection):
    """Makes the rollout buffer keep feedback, and fills it from the infos of each step."""

    def _setup_model(self) -> None:
        super()._setup_model()
        keep_feedback(self.rollout_buffer)
        self._statistics = FeedbackStatistics()
        self._raw_last_obs: Observations | None = None
        self._is_first_rollout = False

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        As in SB3; the generators of feedback and of ``expert`` are seeded too.

        :param seed: As in SB3
        """
        super().set_random_seed(seed)
        self._feedback_rng = derived_generator(seed, "feedback")
        if self.expert is not None and seed is not None:
            self.expert.seed(derived_seed(seed, "expert"))

    def _excluded_save_params(self) -> list[str]:
        own = ["_feedback_rng", "_statistics", "_raw_last_obs", "_is_first_rollout", "_expert_acted"]
        return [*super()._excluded_save_params(), *own]

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> Any:
        if self.imitation == "kl" and self.expert is None:
            raise FeedbackError(
                "imitation='kl' needs expert=, an expert with a distribution. Pass one, or use imitation='nll'."
            )
        self._check_settings()
        is_reset = reset_num_timesteps or self._last_obs is None
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)
        assert self.env is not None
        if self.num_timesteps == 0:
            self.num_expert_queries = self.num_expert_steps = self._n_rollouts_trained = self._n_imitated = 0
            self._before_imitation = None
            for rule in (self.alpha, *self.imitation_weights):
                if hasattr(rule, "reset"):
                    rule.reset()
        self._episode_returns = []
        self._expert_acted = [False] * self.n_envs
        self._prepare_for_injection()
        self._is_first_rollout = True
        if is_reset or self._raw_last_obs is None:
            self._raw_last_obs = self._original_observations()
        return result

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """
        As in the original. Where a callback stops it, a learner who is taught goes on from where the environments are.

        The original goes on from the observation before, which no teacher, and no expert who acts, has before them.

        :param env: As in the original
        :param callback: As in the original
        :return: As in the original
        """
        goes_on = super().collect_rollouts(env, callback, *args, **kwargs)
        if not goes_on and self._is_taught():
            self._catch_up(callback.locals)
            self._raw_last_obs = self._original_observations()
        return goes_on

    def _is_taught(self) -> bool:
        """Whether there is somebody to give feedback on the learner's steps."""
        given = self._statistics.total_records or self._statistics.total_executed
        return bool(self.expert is not None or given or self._promises_labels() or self._injection_modes())

    def _catch_up(self, step: dict[str, Any]) -> None:
        """
        Go on from where the environments are after a step that isn't kept.

        :param step: What the original's local variables were after the step
        """
        self._last_obs, self._last_episode_starts = step["new_obs"], step["dones"]

    def _original_observations(self) -> Observations | None:
        """The latest observations before VecNormalize changed them, if it does; a copy where an expert sees them."""
        vec_normalize = None if self.env is None else innermost_statistics(self.env)
        if vec_normalize is None:
            return None
        return vec_normalize.old_obs if self.expert is None else vec_normalize.get_original_obs()

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        # Called between env.step and rollout_buffer.add, so that the buffer's position is this step's row.
        super()._update_info_buffer(infos, dones)
        if self._raw_last_obs is not None and self.expert is not None:
            self.rollout_buffer.add_raw_observation(self._raw_last_obs)
        self._statistics.count_steps(len(infos))
        if self._is_first_rollout:
            self._statistics.losing.update(env for env, info in enumerate(infos) if loses_feedback(info))
        for env, info in enumerate(infos):
            failure = failure_of(info)
            if failure is not None:
                self._refuse(env, failure)
            if FEEDBACK_KEY in info:
                self._receive(env, self._in_own_steps(env, info[FEEDBACK_KEY]), self._stage_feedback)
            if EXPERT_SEGMENT_KEY in info:
                self._receive(env, info[EXPERT_SEGMENT_KEY], self._stage_segment)
            takeover = takeover_of(info)
            if takeover is not None:
                self._expert_acted[env] = True
                self._stage_executed(env, takeover)
            elif EXECUTED_ACTION_KEY in info:
                self._warn_of_unmarked(env, info[EXECUTED_ACTION_KEY])
            if info.get("episode") is not None:
                returned = episode_return(info)
                if returned is not None and not self._expert_acted[env]:
                    self._episode_returns.append(returned)
                self._expert_acted[env] = False
        # Last: where a step is refused, the learner goes on from the observation before it.
        self._raw_last_obs = self._original_observations()

    def _receive(self, env: int, value: Any, stage: Callable[[int, Any], None]) -> None:
        try:
            stage(env, value)
        except FeedbackError as error:
            self._refuse(env, str(error))

    def _refuse(self, env: int, message: str) -> None:
        if self.on_error == "raise":
            raise FeedbackError(f"environment {env}, step {self.num_timesteps}: {message}")
        self._statistics.skipped += 1

    def _stage_feedback(self, env: int, feedback: Any) -> None:
        if not isinstance(feedback, Feedback):
            self._pass_over(env, FEEDBACK_KEY, feedback, Feedback)
            return
        if feedback.expert_action is not None:
            if self.imitation == "kl" and feedback.label == "mode":
                raise FeedbackError(
                    "a label that is a mode has no analytic KL. Use imitation='nll' or an expert that samples."
                )
            self._check_label_space()
            check_counts_from_zero(self.action_space, "action_space")
            action = check_actions(feedback.expert_action[None], self.action_space, 1, is_single=True)[0]
            self.num_expert_queries += 1
            if not self.rollout_buffer.add_label(env, feedback, action):
                self._statistics.late += 1
        elif feedback.steps_ago and self.rollout_buffer.pos - feedback.steps_ago < self.rollout_buffer.first_row(env):
            self._statistics.late += 1
        if feedback.text is not None and (self.interpreter is not None or self.auxiliary_losses):
            self.rollout_buffer.add_remark(env, feedback)
        self._statistics.count(feedback)

    def _warn_of_lost_feedback(self) -> None:
        """After the first rollout of a training: say once what was promised or given, and teaches nothing."""
        if not self._is_first_rollout:
            return
        self._is_first_rollout = False
        assert self.env is not None
        is_promised = bool(wrapped_environments(self.env, FeedbackWrapper))
        message = lost_feedback(
            self._statistics,
            is_promised=is_promised,
            why_none=why_no_feedback(self.env, self._statistics.losing) if is_promised else "",
            has_interpreter=self.interpreter is not None,
            has_other_use=bool(self.num_expert_queries or self.auxiliary_losses),
            acts_by_tokens=acts_by_tokens(self.policy),
        )
        if message is not None:
            warnings.warn(f"The first {self.num_timesteps} steps {message}", stacklevel=3)

    def _record_feedback(self, alpha: float | None) -> None:
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        if alpha is not None:
            self.logger.record("train/alpha", alpha)
            self.logger.record("feedback/expert_queries", self.num_expert_queries)
        if len(rows):
            taken = buffer.take_rows(buffer.actions, rows)
            labels = in_policy_scale(self.policy, buffer.take_rows(buffer.label_actions, rows))
            self.logger.record("feedback/expert_agreement", expert_agreement(taken, labels, self.action_space))
        if buffer.segments or buffer.executed.any():
            self.logger.record("injection/expert_steps", self.num_expert_steps)
        self._statistics.record(self.logger)
