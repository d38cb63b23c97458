"""Feedback on its way from step infos into the rollout buffer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nlf_sb3.action_scales import scale_to_policy
from nlf_sb3.adapters.base import Adapter
from nlf_sb3.buffers.labels import NO_LABEL
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXECUTED_ACTION_KEY, EXPERT_SEGMENT_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.foreign_vec_envs import wrapped_environments
from nlf_sb3.infos import episode_return, failure_of, takeover_of
from nlf_sb3.receiving.experts_records import ExpertRecords
from nlf_sb3.receiving.late_labels import LateLabels
from nlf_sb3.receiving.lost_feedback import lost_feedback
from nlf_sb3.receiving.lost_marks import loses_feedback, why_no_feedback
from nlf_sb3.receiving.others_entries import OthersEntries
from nlf_sb3.receiving.presence import ExpertPresence
from nlf_sb3.receiving.statistics import FeedbackStatistics, expert_agreement
from nlf_sb3.receiving.step_watch import StepWatch
from nlf_sb3.segments import Observations
from nlf_sb3.shifted_spaces import check_counts_from_zero
from nlf_sb3.token_policies import acts_by_tokens
from nlf_sb3.validation import check_actions
from nlf_sb3.vec_envs import innermost_statistics
from nlf_sb3.wrappers import FeedbackWrapper


class Receiver:
    """
    Fills the model's rollout buffer with the feedback of each step's infos.

    :param adapter: Of the model's algorithm
    :param statistics: Counts feedback
    :param add_return: Called with the return of each episode that the agent played alone
    :param steps: Compares steps
    :param presence: Knows the feedback that wrappers promise
    :param late: Takes labels that arrive after their rollout
    """

    def __init__(
        self,
        adapter: Adapter,
        statistics: FeedbackStatistics,
        add_return: Callable[[float], None],
        steps: StepWatch,
        presence: ExpertPresence,
        late: LateLabels,
    ) -> None:
        self._model: Any = adapter.model
        self._statistics = statistics
        self._add_return = add_return
        self._steps = steps
        self._presence = presence
        self._late = late
        self._others = OthersEntries()
        self._records = ExpertRecords(adapter, statistics, self._others)
        self._raw_last_obs: Observations | None = None
        self._expert_acted: list[bool] = []
        self._is_first_rollout = False

    def begin(self, *, is_reset: bool) -> None:
        """
        Begin a training.

        :param is_reset: Whether the environments begin anew
        """
        self._expert_acted = [False] * self._model.n_envs
        self._is_first_rollout = True
        self._late.begin(is_reset=is_reset)
        if is_reset or self._raw_last_obs is None:
            self.keep_raw_observations()

    @property
    def is_taught(self) -> bool:
        """Whether the learner's steps get feedback."""
        given = self._statistics.total_records or self._statistics.total_executed
        is_promised = self._presence.promises_labels() or self._presence.injection_modes()
        return bool(self._model.expert is not None or given or is_promised)

    def keep_raw_observations(self) -> None:
        """Keep the latest observations from before VecNormalize, if there is one; a copy if an expert sees them."""
        vec_normalize = None if self._model.env is None else innermost_statistics(self._model.env)
        if vec_normalize is None:
            self._raw_last_obs = None
        else:
            is_seen = self._model.expert is not None
            self._raw_last_obs = vec_normalize.get_original_obs() if is_seen else vec_normalize.old_obs

    def receive(self, infos: list[dict[str, Any]]) -> None:
        """
        :param infos: Of the step just taken, which the rollout buffer will add next
        :raises FeedbackError: For bad feedback, with ``on_error="raise"``
        """
        self._steps.check(infos)
        if self._raw_last_obs is not None and self._model.expert is not None:
            self._model.rollout_buffer.add_raw_observation(self._raw_last_obs)
        self._late.note_step(self._model._last_obs, self._steps.action_masks)
        self._statistics.count_steps(len(infos))
        if self._is_first_rollout:
            self._statistics.losing.update(env for env, info in enumerate(infos) if loses_feedback(info))
        for env, info in enumerate(infos):
            self._receive_one(env, info)
        # Last: where a step is refused, the learner goes on from the observation before it.
        self.keep_raw_observations()

    def _receive_one(self, env: int, info: dict[str, Any]) -> None:
        failure = failure_of(info)
        if failure is not None:
            self._refuse(env, failure)
        if FEEDBACK_KEY in info:
            self._try(env, self._steps.in_own_steps(env, info[FEEDBACK_KEY]), self._add_feedback)
        if EXPERT_SEGMENT_KEY in info:
            self._try(env, info[EXPERT_SEGMENT_KEY], self._records.add_segment)
        takeover = takeover_of(info)
        if takeover is not None:
            self._expert_acted[env] = True
            self._records.add_executed(env, takeover)
        elif EXECUTED_ACTION_KEY in info:
            model = self._model
            shape = model.action_space.shape
            self._others.warn_of_unmarked(env, model.num_timesteps, info[EXECUTED_ACTION_KEY], shape)
        if info.get("episode") is not None:
            returned = episode_return(info)
            if returned is not None and not self._expert_acted[env]:
                self._add_return(returned)
            self._expert_acted[env] = False

    def _try(self, env: int, value: Any, add: Callable[[int, Any], None]) -> None:
        try:
            add(env, value)
        except FeedbackError as error:
            self._refuse(env, str(error))

    def _refuse(self, env: int, message: str) -> None:
        if self._model.on_error == "raise":
            raise FeedbackError(f"environment {env}, step {self._model.num_timesteps}: {message}")
        self._statistics.skipped += 1

    def _add_feedback(self, env: int, feedback: Any) -> None:
        model, buffer = self._model, self._model.rollout_buffer
        if not isinstance(feedback, Feedback):
            self._others.pass_over(env, model.num_timesteps, FEEDBACK_KEY, feedback, Feedback)
            return
        if feedback.expert_action is not None:
            self._add_label(env, feedback)
        elif feedback.steps_ago and buffer.pos - feedback.steps_ago < buffer.first_row(env):
            self._statistics.late += 1
        if feedback.text is not None and (model.interpreter is not None or model.auxiliary_losses):
            buffer.add_remark(env, feedback)
        self._statistics.count(feedback)

    def _add_label(self, env: int, feedback: Feedback) -> None:
        model = self._model
        self._records.check_action_scale()
        if model.imitation.loss == "kl" and feedback.label == "mode":
            raise FeedbackError("a label that is a mode has no analytic KL. Use imitation='nll' or an expert that samples.")
        self._steps.check_label_space()
        check_counts_from_zero(model.action_space, "action_space")
        assert feedback.expert_action is not None
        action = check_actions(feedback.expert_action[None], model.action_space, 1, is_single=True)[0]
        self._statistics.expert_queries += 1
        if model.rollout_buffer.add_label(env, feedback, action):
            return
        if self._late.keep(env, feedback, np.asarray(action)):
            self._statistics.late_replayed += 1
        else:
            self._statistics.late += 1

    def warn_of_unused_feedback(self) -> None:
        """Warn about feedback in the first rollout of a training that no loss uses."""
        if not self._is_first_rollout:
            return
        self._is_first_rollout = False
        model, statistics = self._model, self._statistics
        is_promised = bool(wrapped_environments(model.env, FeedbackWrapper))
        message = lost_feedback(
            statistics,
            is_promised=is_promised,
            why_none=why_no_feedback(model.env, statistics.losing) if is_promised else "",
            has_interpreter=model.interpreter is not None,
            acts_by_tokens=acts_by_tokens(model.policy),
            has_other_use=bool(statistics.expert_queries or model.auxiliary_losses),
        )
        if message is not None:
            warnings.warn(f"The first {model.num_timesteps} steps {message}", stacklevel=3)

    def log(self, alpha: float | None) -> None:
        """
        Log a rollout.

        :param alpha: Weight of the policy gradient; None if it is not to be logged
        """
        model, buffer = self._model, self._model.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        if alpha is not None:
            model.logger.record("train/alpha", alpha)
            model.logger.record("feedback/expert_queries", self._statistics.expert_queries)
        if len(rows):
            taken = buffer.take_rows(buffer.actions, rows)
            labels = scale_to_policy(model.policy, buffer.take_rows(buffer.label_actions, rows))
            model.logger.record("feedback/expert_agreement", expert_agreement(taken, labels, model.action_space))
        if buffer.segments or np.any(buffer.executed):
            model.logger.record("injection/expert_steps", self._statistics.expert_steps)
        self._statistics.record(model.logger)
