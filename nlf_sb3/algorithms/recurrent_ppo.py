"""RecurrentPPO that learns from feedback."""

from __future__ import annotations

from typing import Any

import numpy as np
import sb3_contrib
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import obs_as_tensor

from nlf_sb3.algorithms.clipped import JoinsSingleRow
from nlf_sb3.algorithms.imitation import raw_policy_actions
from nlf_sb3.algorithms.recurrent_rows import RecurrentRows, states_before_rows, states_in_buffer
from nlf_sb3.algorithms.rows import Evaluation
from nlf_sb3.distributions import select_rows
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Feedback
from nlf_sb3.infos import Takeover
from nlf_sb3.segments import ExpertSegment


class RecurrentPPO(JoinsSingleRow, sb3_contrib.RecurrentPPO):
    """
    sb3-contrib's RecurrentPPO with the joint objective and trajectory injection.

    Its arguments come first, in their order and with their defaults; those of
    :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm` are keywords. Injected episodes are sequences: the policy's
    hidden state before each of their rows is that of the policy that collected the rollout, and each epoch deals them
    out in contiguous parts. ``demonstrations`` have no past that a hidden state could come from, and are refused; so are
    an expert's actions beside squashed ones that sb3-contrib doesn't rescale (bounds other than -1 and 1).

    A last minibatch of one row joins the one before it, where advantages are normalised
    (:class:`~nlf_sb3.algorithms.clipped.JoinsSingleRow`).
    """

    trains_tokens = False

    policy: Any
    """A recurrent policy of sb3-contrib."""

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.label_memory:
            raise ValueError(
                f"label_memory: got {self.label_memory!r}; remembered rows have no past, and RecurrentPPO's policy acts on "
                "what it remembers. Leave it at 0."
            )
        if self.expert_segments == "imitate":
            raise ValueError(
                "expert_segments: got 'imitate'; the steps that would be imitated have no past, and RecurrentPPO's policy "
                "acts on what it remembers. Use expert_segments='inject'."
            )
        if self.demonstrations is not None:
            raise FeedbackError(
                "demonstrations: their rows have no past, and RecurrentPPO's policy acts on what it remembers. "
                "Use an expert=, a FeedbackWrapper or TrajectoryInjection, whose rows belong to episodes."
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._setup_learn(*args, **kwargs)
        if self.expert is not None:
            self._check_scale()
        return result

    def _catch_up(self, step: dict[str, Any]) -> None:
        super()._catch_up(step)
        self._last_lstm_states = step["lstm_states"]

    def _stage_feedback(self, env: int, feedback: Any) -> None:
        if isinstance(feedback, Feedback) and feedback.expert_action is not None:
            self._check_scale()
        super()._stage_feedback(env, feedback)

    def _stage_executed(self, env: int, takeover: Takeover) -> None:
        self._check_scale()
        super()._stage_executed(env, takeover)

    def _check_segment(self, segment: ExpertSegment) -> None:
        self._check_scale()

    def _check_scale(self) -> None:
        """Raise if the policy's actions mean others than the environment's: sb3-contrib doesn't rescale squashed ones."""
        space = self.action_space
        if isinstance(space, spaces.Box) and self.policy.squash_output and not ((space.low == -1) & (space.high == 1)).all():
            raise ValueError(
                f"squash_output=True with {space}: sb3-contrib's RecurrentPPO doesn't rescale squashed actions while it "
                "collects, so that an expert's actions would mean others than those executed. Use gymnasium's RescaleAction, "
                "to bounds of -1 and 1, around the environment."
            )

    def _as_executed(self, actions: np.ndarray) -> np.ndarray:
        """As in the base, but squashed actions are clipped as they are: sb3-contrib doesn't rescale them."""
        space = self.action_space
        if isinstance(space, spaces.Box):
            clipped: np.ndarray = np.clip(actions.reshape(len(actions), *(space.shape or ())), space.low, space.high)
            return clipped
        return super()._as_executed(actions)

    def _policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> RecurrentRows:
        assert starts is not None
        states = states_before_rows(self.policy, observations, starts)
        return RecurrentRows(self.policy, observations, actions, starts, states)

    def _evaluate_rollout_rows(self, rows: np.ndarray) -> Evaluation:
        buffer = self.rollout_buffer
        every = buffer.row_indices()
        starts = buffer.take_rows(buffer.episode_starts, every).astype(bool) | (every % buffer.buffer_size == 0)
        evaluation = RecurrentRows(
            self.policy,
            obs_as_tensor(buffer.take_rows(buffer.observations, every), self.device),
            raw_policy_actions(self.policy, buffer.take_rows(buffer.actions, every)),
            starts,
            states_in_buffer(buffer, self.device),
        ).evaluate_all()
        return Evaluation(evaluation.values[rows], evaluation.log_prob[rows], select_rows(evaluation.distribution, rows))
