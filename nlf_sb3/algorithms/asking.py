"""Ask the expert for a rollout's labels, as long as the budget of queries lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.algorithms.collecting import CollectsFeedback
from nlf_sb3.algorithms.vec_envs import as_environment_gave_them, check_demonstrations_pass, check_expert_observes
from nlf_sb3.buffers.labels import MODE, NO_LABEL, SAMPLE
from nlf_sb3.distributions import masked
from nlf_sb3.errors import FeedbackError, hints_of
from nlf_sb3.masks import check_allowed
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import hint_at_rows
from nlf_sb3.validation import check_actions


class AsksExpert(CollectsFeedback):
    """Has ``expert`` label rows of a rollout, or say its distribution on them."""

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.expert is not None and self.env is not None:
            check_expert_observes(self.env)
        if self.demonstrations is not None and self.env is not None and self.alpha != 1.0:
            check_demonstrations_pass(self.env)
        return super()._setup_learn(*args, **kwargs)

    def _rollout_masks(self, rows: np.ndarray) -> np.ndarray | None:
        """Action masks of rows of the rollout, ``[n, n_choices]``, for an algorithm that has them."""
        return None

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the expert; what it raises becomes a FeedbackError, or is counted and passed over."""
        try:
            return question()
        except Exception as error:  # whatever a user's expert raises
            message = str(error) if isinstance(error, FeedbackError) else f"it raised {type(error).__name__}: {error}"
            assert self.expert is not None
            hint_at_rows(self.expert, error)
            message = " ".join([message, *hints_of(error)])
            if self.on_error == "raise":
                raise FeedbackError(f"expert {type(self.expert).__name__}, step {self.num_timesteps}: {message}") from error
            self._statistics.skipped += 1
            return None

    def _expert_observations(self, rows: np.ndarray) -> Observations:
        assert self.env is not None
        check_expert_observes(self.env)
        buffer = self.rollout_buffer
        raw = buffer.raw_observations
        observations = buffer.take_rows(buffer.observations if raw is None else raw, rows)
        return as_environment_gave_them(self.env, observations, before_statistics=raw is not None)  # type: ignore[no-any-return]

    def _queries_left(self) -> float:
        """How many more labels may be asked for."""
        return np.inf if self.max_expert_queries is None else max(self.max_expert_queries - self.num_expert_queries, 0)

    def _affordable(self, rows: np.ndarray) -> np.ndarray:
        """As many of these rows as the budget lasts for, drawn evenly, in their order."""
        n_left = self._queries_left()
        if n_left >= len(rows):
            return rows
        return rows[np.sort(self._feedback_rng.choice(len(rows), int(n_left), replace=False))]

    def _expert_distribution(self) -> tuple[Distribution, np.ndarray] | None:
        """The expert's distribution, and the rows that it is of; None if it failed, or the budget has no use here."""
        assert self.expert is not None
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = self._affordable(rows[buffer.take_rows(buffer.label_kinds, rows) == NO_LABEL])
        if not len(rows):
            return None
        expert, observations, masks = self.expert, self._expert_observations(rows), self._rollout_masks(rows)

        def question() -> Distribution:
            distribution = expert.distribution(observations)
            if distribution is None:
                raise FeedbackError("imitation='kl' needs its distribution, and it has none. Use imitation='nll'.")
            return distribution if masks is None else masked(distribution, masks)

        distribution = self._ask(question)
        if distribution is None:
            return None
        self.num_expert_queries += len(rows)
        return distribution, rows

    def _label_rollout(self) -> None:
        """Fill the rollout's rows that have no label with the expert's, in one call."""
        assert self.expert is not None
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = self._affordable(rows[buffer.take_rows(buffer.label_kinds, rows) == NO_LABEL])
        if not len(rows):
            return
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size

        def row_name(row: int) -> str:
            return f"the action for environment {envs[row]}, rollout step {steps[row]},"

        expert, observations, masks = self.expert, self._expert_observations(rows), self._rollout_masks(rows)

        def question() -> np.ndarray:
            answer = expert.act(observations) if masks is None else expert.act_within(observations, masks.copy())
            actions = check_actions(answer, self.action_space, len(rows), row_name=row_name)
            if masks is not None:
                check_allowed(actions, masks, self.action_space, row_name=row_name)
            return actions

        actions = self._ask(question)
        if actions is None:
            return
        buffer.label_actions[steps, envs] = actions
        buffer.label_kinds[steps, envs] = SAMPLE if expert.label == "sample" else MODE
        buffer.label_weights[steps, envs] = 1.0
        self.num_expert_queries += len(rows)
