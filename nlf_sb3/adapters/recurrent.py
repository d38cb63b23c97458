"""RecurrentPPO: rows are sequences, with the hidden state before each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import obs_as_tensor

from nlf_sb3.action_scales import policy_tensor
from nlf_sb3.adapters.clipped import SingleRowAdapter
from nlf_sb3.adapters.recurrent_rows import RecurrentRows, states_before_rows, states_in_buffer
from nlf_sb3.distributions import select_rows
from nlf_sb3.errors import FeedbackError
from nlf_sb3.objectives.policy_rows import Evaluation


class RecurrentAdapter(SingleRowAdapter):
    """RecurrentPPO of sb3-contrib."""

    trains_tokens = False

    def check_settings(self) -> None:
        super().check_settings()
        model = self.model
        if model.imitation.replay is not None:
            raise ValueError(
                f"imitation.replay: got {model.imitation.replay!r}. Replayed labels have no past, and RecurrentPPO's policy "
                "acts on what it remembers. Leave replay at None."
            )
        if model.injection.segments == "imitate":
            raise ValueError(
                "injection.segments: got 'imitate'. The imitated steps would have no past, and RecurrentPPO's policy acts on "
                "what it remembers. Use segments='inject'."
            )
        if model.demonstrations is not None:
            raise FeedbackError(
                "demonstrations: their rows have no past, and RecurrentPPO's policy acts on what it remembers. "
                "Use an expert=, a FeedbackWrapper or TrajectoryInjection, whose rows belong to episodes."
            )

    def check_action_scale(self) -> None:
        space, policy = self.model.action_space, self.model.policy
        if isinstance(space, spaces.Box) and policy.squash_output and not ((space.low == -1) & (space.high == 1)).all():
            raise ValueError(
                f"squash_output=True with {space}: sb3-contrib's RecurrentPPO doesn't rescale squashed actions while it "
                "collects, so that an expert's actions would mean others than those executed. Use gymnasium's RescaleAction, "
                "to bounds of -1 and 1, around the environment."
            )

    def as_executed(self, actions: np.ndarray) -> np.ndarray:
        """As in the base, but squashed actions are clipped as they are: sb3-contrib doesn't rescale them."""
        space = self.model.action_space
        if not isinstance(space, spaces.Box):
            return super().as_executed(actions)
        clipped: np.ndarray = np.clip(actions.reshape(len(actions), *(space.shape or ())), space.low, space.high)
        return clipped

    def catch_up(self, step: dict[str, Any]) -> None:
        super().catch_up(step)
        self.model._last_lstm_states = step["lstm_states"]

    def policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> RecurrentRows:
        assert starts is not None
        states = states_before_rows(self.model.policy, observations, starts)
        return RecurrentRows(self.model.policy, observations, actions, starts, states)

    def evaluate_rollout_rows(self, rows: np.ndarray) -> Evaluation:
        model, buffer = self.model, self.model.rollout_buffer
        every = buffer.row_indices()
        starts = buffer.take_rows(buffer.episode_starts, every).astype(bool) | (every % buffer.buffer_size == 0)
        evaluation = RecurrentRows(
            model.policy,
            obs_as_tensor(buffer.take_rows(buffer.observations, every), model.device),
            policy_tensor(model.policy, buffer.take_rows(buffer.actions, every)),
            starts,
            states_in_buffer(buffer, model.device),
        ).evaluate_all()
        return Evaluation(evaluation.values[rows], evaluation.log_prob[rows], select_rows(evaluation.distribution, rows))
