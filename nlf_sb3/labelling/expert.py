"""Ask the expert for a rollout's labels, as long as the budget of queries lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.buffers.labels import MODE, NO_LABEL, SAMPLE
from nlf_sb3.distributions import masked
from nlf_sb3.errors import FeedbackError, hints_of
from nlf_sb3.masks import check_allowed
from nlf_sb3.receiving.statistics import FeedbackStatistics
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import hint_at_rows
from nlf_sb3.validation import check_actions
from nlf_sb3.vec_envs import as_environment_gave_them, check_expert_observes


class ExpertLabeller:
    """
    Lets the model's ``expert`` label rows of a rollout, or give its distribution on them.

    :param adapter: Of the model's algorithm
    :param statistics: Counts queries and answers that were passed over
    """

    def __init__(self, adapter: Adapter, statistics: FeedbackStatistics) -> None:
        self._adapter = adapter
        self._model = adapter.model
        self._statistics = statistics

    @property
    def is_available(self) -> bool:
        """Whether there is an expert, and a query left."""
        return self._model.expert is not None and self._queries_left() > 0

    def label(self, rng: np.random.Generator) -> None:
        """
        Fill the rollout's rows that have no label with the expert's, in one call.

        :param rng: Draws rows if the budget does not last for all
        """
        buffer, expert = self._model.rollout_buffer, self._model.expert
        rows = self._unlabelled_rows(rng)
        if not len(rows):
            return
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size

        def row_name(row: int) -> str:
            return f"the action for environment {envs[row]}, rollout step {steps[row]},"

        observations, masks = self._observations(rows), self._adapter.rollout_masks(rows)

        def question() -> np.ndarray:
            answer = expert.act(observations) if masks is None else expert.act_within(observations, masks.copy())
            actions = check_actions(answer, self._model.action_space, len(rows), row_name=row_name)
            if masks is not None:
                check_allowed(actions, masks, self._model.action_space, row_name=row_name)
            return actions

        actions = self._ask(question)
        if actions is None:
            return
        buffer.label_actions[steps, envs] = actions
        buffer.label_kinds[steps, envs] = SAMPLE if expert.label == "sample" else MODE
        buffer.label_weights[steps, envs] = 1.0
        self._statistics.expert_queries += len(rows)

    def distribution(self, rng: np.random.Generator) -> tuple[Distribution, np.ndarray] | None:
        """
        :param rng: Draws rows if the budget does not last for all
        :return: The expert's distribution, and the flat indices of its rows; None without an answer
        """
        expert = self._model.expert
        rows = self._unlabelled_rows(rng)
        if not len(rows):
            return None
        observations, masks = self._observations(rows), self._adapter.rollout_masks(rows)

        def question() -> Distribution:
            distribution: Distribution | None = expert.distribution(observations)
            if distribution is None:
                raise FeedbackError("imitation='kl' needs its distribution, and it has none. Use imitation='nll'.")
            return distribution if masks is None else masked(distribution, masks)

        distribution = self._ask(question)
        if distribution is None:
            return None
        self._statistics.expert_queries += len(rows)
        return distribution, rows

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the expert. An error becomes a FeedbackError, or is counted and passed over."""
        model = self._model
        try:
            return question()
        except Exception as error:  # whatever a user's expert raises
            message = str(error) if isinstance(error, FeedbackError) else f"it raised {type(error).__name__}: {error}"
            hint_at_rows(model.expert, error)
            message = " ".join([message, *hints_of(error)])
            if model.on_error == "raise":
                raise FeedbackError(f"expert {type(model.expert).__name__}, step {model.num_timesteps}: {message}") from error
            self._statistics.skipped += 1
            return None

    def _observations(self, rows: np.ndarray) -> Observations:
        env, buffer = self._model.env, self._model.rollout_buffer
        check_expert_observes(env)
        raw = buffer.raw_observations
        observations = buffer.take_rows(buffer.observations if raw is None else raw, rows)
        return as_environment_gave_them(env, observations, before_statistics=raw is not None)  # type: ignore[no-any-return]

    def _queries_left(self) -> float:
        """Number of labels that may still be asked for."""
        most = self._model.max_expert_queries
        return np.inf if most is None else max(most - self._statistics.expert_queries, 0)

    def _unlabelled_rows(self, rng: np.random.Generator) -> np.ndarray:
        """Rows without a label: all, or as many as the budget lasts for, drawn evenly, in their order."""
        buffer = self._model.rollout_buffer
        rows: np.ndarray = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) == NO_LABEL]
        n_left = self._queries_left()
        if n_left >= len(rows):
            return rows
        return rows[np.sort(rng.choice(len(rows), int(n_left), replace=False))]
