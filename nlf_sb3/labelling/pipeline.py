"""All labels of a rollout, and the imitation term that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.action_scales import env_to_policy_tensor
from nlf_sb3.adapters.base import Adapter
from nlf_sb3.buffers.labels import MODE, NO_LABEL
from nlf_sb3.label_weights import LabelFactors
from nlf_sb3.labelling.demonstrations import drawn_demonstrations, imitated_segments
from nlf_sb3.labelling.expert import ExpertLabeller
from nlf_sb3.labelling.replay import LabelMemory
from nlf_sb3.labelling.text import TextLabeller
from nlf_sb3.labelling.weighting import Answers
from nlf_sb3.objectives.imitation import ImitationTerm
from nlf_sb3.observations import join_observations, observations_on
from nlf_sb3.receiving.statistics import FeedbackStatistics
from nlf_sb3.rows import LabelledRows, with_equal_masks


class LabellingPipeline:
    """
    Makes one imitation term of the labels in infos, remarks, the expert's answers, demonstrations and earlier labels.

    :param adapter: Of the model's algorithm
    :param statistics: Counts labels
    """

    def __init__(self, adapter: Adapter, statistics: FeedbackStatistics) -> None:
        self._adapter = adapter
        self._model = adapter.model
        self._statistics = statistics
        self._expert = ExpertLabeller(adapter, statistics)
        self._text = TextLabeller(adapter, statistics)
        self.memory = LabelMemory(0)

    def begin(self, *, is_new: bool) -> None:
        """
        Begin a training.

        :param is_new: Whether labels of earlier rollouts are forgotten. A model that was loaded has none.
        """
        replay = self._model.imitation.replay
        if is_new or not self.memory.capacity:
            self.memory = LabelMemory(0 if replay is None else replay.capacity)

    def replay(self, rows: LabelledRows) -> None:
        """
        :param rows: Labels to replay from the next update on
        """
        self.memory.add(rows)

    def term(self, alpha: float, rng: np.random.Generator, *, is_settled: bool) -> ImitationTerm | None:
        """
        :param alpha: Weight of the policy gradient. With 1, labels that came by themselves are counted, and no more are asked.
        :param rng: Draws rows
        :param is_settled: Whether the buffer's advantages are already as the policy loss takes them
        :return: The term of all labelled rows; None without labels
        """
        self._statistics.skipped += self._adapter.pass_over_labels()
        if alpha == 1.0:
            return None
        self._text.label(rng)
        distribution, asked = self._answers(rng)
        remembered, imitated = self._remembered(rng), imitated_segments(self._model)
        shows = any(rows is not None for rows in (remembered, self._model.demonstrations, imitated))
        factors = self._weigh(distribution, asked, shows, is_settled or self._adapter.advantages_are_normalised)
        if factors is None:
            self._remember()
        if imitated is not None and self._model.imitation.replay is not None:
            self.memory.add(imitated)
        shown = [drawn_demonstrations(self._model, rng), remembered, imitated]
        term = ImitationTerm(
            self._model.policy,
            self._model.rollout_buffer,
            expert_distribution=distribution,
            expert_rows=asked,
            factors=None if factors is None else factors.shared * factors.of_rows,
            **self._shown([rows for rows in shown if rows is not None], 1.0 if factors is None else factors.shared),
            mode_trains_std=self._model.imitation.mode_trains_std,
            closed_form=self._model.closed_form_imitation,
            rng=rng,
            loss=None if isinstance(self._model.imitation.loss, str) else self._model.imitation.loss,
        )
        return term if term.n_labelled else None

    def _answers(self, rng: np.random.Generator) -> tuple[Distribution | None, np.ndarray | None]:
        """Ask the expert; its distribution and the rows that it is of, if it has to give one."""
        if self._expert.is_available:
            if self._model.imitation.loss == "kl":
                return self._expert.distribution(rng) or (None, None)
            self._expert.label(rng)
        return None, None

    def _weigh(
        self, distribution: Distribution | None, asked: np.ndarray | None, shows: bool, is_settled: bool
    ) -> LabelFactors | None:
        """Weigh the rollout's labels, and remember them. Returns the factors; None without rules or labels."""
        if not self._model.imitation.weights:
            return None
        answers = Answers(self._adapter, distribution, asked)
        if not answers.exist.any() and not shows:
            return None
        factors = answers.factors(is_settled)
        buffer, rows = self._model.rollout_buffer, answers.rows
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size
        buffer.label_weights[steps, envs] *= factors.of_rows
        self._remember()  # the shared factor is that of each rollout, also for remembered rows
        buffer.label_weights[steps, envs] *= factors.shared
        if answers.exist.any():
            mean = float(factors.of_rows[answers.exist].mean()) * factors.shared
            self._model.logger.record("feedback/label_weight_mean", mean)
        return factors

    def _remembered(self, rng: np.random.Generator) -> LabelledRows | None:
        """Labels of earlier rollouts, drawn for this one; None without any."""
        replay = self._model.imitation.replay
        if replay is None:
            return None
        return self.memory.draw(round(replay.per_step * len(self._model.rollout_buffer.row_indices())), rng)

    def _remember(self) -> None:
        """Keep this rollout's labels for later rollouts."""
        if self._model.imitation.replay is None:
            return
        buffer = self._model.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        rows = rows[buffer.take_rows(buffer.label_weights, rows) >= 0]  # blame is of the present policy
        if len(rows):
            self.memory.add(
                LabelledRows(
                    buffer.take_rows(buffer.observations, rows),
                    buffer.take_rows(buffer.label_actions, rows),
                    buffer.take_rows(buffer.label_weights, rows),
                    buffer.take_rows(buffer.label_kinds, rows) == MODE,
                    self._adapter.rollout_masks(rows),
                )
            )

    def _shown(self, parts: list[LabelledRows], factor: float) -> dict[str, Any]:
        """Arguments of the term for rows that the rollout does not hold, their weights times a factor."""
        parts = with_equal_masks(parts)
        if not parts:
            return {"shown": None, "shown_weights": None, "shown_is_mode": None}
        policy, device = self._model.policy, self._model.device
        observations: Any = join_observations([observations_on(rows.observations, device) for rows in parts])
        actions = th.cat([env_to_policy_tensor(policy, rows.actions) for rows in parts])
        masks = [rows.action_masks for rows in parts if rows.action_masks is not None]
        weights = np.concatenate([rows.weights for rows in parts])
        return {
            "shown": self._adapter.policy_rows(observations, actions, None, np.concatenate(masks) if masks else None),
            "shown_weights": factor * th.as_tensor(weights, dtype=th.float32, device=device),
            "shown_is_mode": np.concatenate([rows.is_mode for rows in parts]),
        }
