"""Labels from a rollout's remarks."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.buffers.labels import MODE, NO_LABEL
from nlf_sb3.labelling.word_counts import record_words
from nlf_sb3.masks import allowed_rows
from nlf_sb3.receiving.statistics import FeedbackStatistics
from nlf_sb3.text.corrections import Corrections, Remarks, correction_targets


class TextLabeller:
    """
    Lets the model's ``interpreter`` read remarks. Rows that have no other label get one.

    :param adapter: Of the model's algorithm
    :param statistics: Counts remarks
    """

    def __init__(self, adapter: Adapter, statistics: FeedbackStatistics) -> None:
        self._adapter = adapter
        self._model = adapter.model
        self._statistics = statistics

    def label(self, rng: np.random.Generator) -> None:
        """
        Read the rollout's remarks. Rows that have an expert's action too teach the interpreter, if it can learn.

        :param rng: Draws the remark that is logged
        """
        model, buffer, interpreter = self._model, self._model.rollout_buffer, self._model.interpreter
        if interpreter is None:
            return
        if buffer.remarks is None:
            if self._statistics.total_texts:  # as in the rollouts before
                record_words(model.logger, interpreter.names)
            return
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.remarks, rows).astype(bool)]
        is_labelled = buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL
        if is_labelled.any() and hasattr(interpreter, "observe"):
            both = rows[is_labelled]
            interpreter.observe(self._remarks(both), buffer.take_rows(buffer.label_actions, both))
        rows = rows[~is_labelled]
        if not len(rows):
            record_words(model.logger, interpreter.names)
            return
        remarks = self._remarks(rows)
        corrections = interpreter.interpret(remarks)
        targets = correction_targets(interpreter.names, remarks.actions, corrections)
        weights = targets.weights
        masks = self._adapter.rollout_masks(rows)
        if masks is not None:  # words may ask for what the environment forbids
            weights = np.where(allowed_rows(targets.actions, masks, model.action_space), weights, 0.0)
        self._record_reading(remarks, corrections, weights, rng)
        record_words(model.logger, interpreter.names, corrections, weights)
        rows, kept = rows[weights != 0], weights != 0
        self._statistics.count_used_texts(len(rows))
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size
        buffer.label_actions[steps, envs] = targets.actions[kept]
        buffer.label_kinds[steps, envs] = MODE
        buffer.label_weights[steps, envs] = weights[kept]

    def _remarks(self, rows: np.ndarray) -> Remarks:
        buffer = self._model.rollout_buffer
        records: list[Any] = buffer.take_rows(buffer.remarks, rows).tolist()
        return Remarks(
            [record.text for record in records],
            [record.text_kind for record in records],
            self._adapter.as_executed(buffer.take_rows(buffer.actions, rows)),
            buffer.take_rows(buffer.observations, rows),
        )

    def _record_reading(
        self, remarks: Remarks, corrections: Corrections, weights: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Log how much was understood, and one remark with its reading."""
        logger = self._model.logger
        logger.record("feedback/text_confidence_mean", float(corrections.confidences.mean()))
        logger.record("feedback/text_used", float(np.mean(weights != 0)))
        row = int(rng.integers(len(remarks)))
        reading = f"directions {corrections.directions[row].astype(int).tolist()}, size {corrections.sizes[row]:.2f}, "
        reading += f"valence {corrections.valences[row]:+.0f}, confidence {corrections.confidences[row]:.2f}"
        sample = f"> {remarks.texts[row][:300]}\n\naction {remarks.actions[row].tolist()}; read as {reading}"
        logger.record("feedback/text_sample", sample, exclude=("stdout", "log", "json", "csv"))
