"""An interpreter that learns on line what words mean, from steps that carry both words and an expert's action."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.action_names import ActionNames, as_action_names
from nlf_sb3.errors import require
from nlf_sb3.text.corrections import Corrections, Remarks
from nlf_sb3.text.encoders import HashedNgrams, TextEncoder, check_encoded

_WAYS = np.array([-1, 0, 1])
_PASSES = 5
"""Optimiser steps for each batch of rows that come, as long as a batch of scikit-learn's holds them."""


class LearnedInterpreter:
    """
    Learns the way of a correction, for each dimension: down, none or up.

    A small neural network (scikit-learn's) on what the encoder makes of the text, alone and times the sign of what was done:
    "harder" means up after a push up. Its confidence is what its likeliest way has beyond
    chance, times the share of the text's features that it has seen (as the squared length of the vector on those). It says
    nothing before ``min_rows`` rows taught it, and of praise and blame without direction nothing at all.

    :param names: :class:`~nlf_sb3.action_names.ActionNames`, or an action space for names by default
    :param encoder: Encodes texts; None for :class:`~nlf_sb3.text.HashedNgrams` of 512
    :param tolerance: Differences up to this count as none, in half ranges
    :param min_rows: Rows with words and an expert's action before it speaks
    :param seed: Shuffles what it learns from
    """

    def __init__(
        self,
        names: ActionNames | spaces.Space,
        encoder: TextEncoder | None = None,
        *,
        tolerance: float = 0.03,
        min_rows: int = 100,
        seed: int = 0,
    ) -> None:
        self.names = as_action_names(names)
        self.encoder = encoder or HashedNgrams(512)
        self.tolerance = tolerance
        self.min_rows = min_rows
        self.n_rows = 0
        networks = require("sklearn.neural_network", "data", "LearnedInterpreter")
        self._models: list[Any] = [
            networks.MLPClassifier((64,), learning_rate_init=1e-2, random_state=seed + i)
            for i in range(self.names.n_dimensions)
        ]
        self._seen = np.zeros(self.encoder.size, dtype=bool)
        self._step = 0.2
        low, high = self.names.low, self.names.high
        self._middle = np.where(np.isfinite(low + high), (low + high) / 2, 0.0)

    def observe(self, remarks: Remarks, expert_actions: np.ndarray) -> None:
        """
        Learn from rows that have both.

        :param remarks: What was said about n steps
        :param expert_actions: What the expert would have done there, environment-scale, ``[n, *action_shape]``
        """
        if not len(remarks):
            return
        encoded = self._encode(remarks)
        difference = (self.names.flatten(expert_actions) - self.names.flatten(remarks.actions)) / self.names.half_range
        ways = np.where(np.abs(difference) <= self.tolerance, 0, np.sign(difference)).astype(int)
        for dimension, model in enumerate(self._models):
            features = self._features(encoded, remarks, dimension)
            for _ in range(_PASSES):
                model.partial_fit(features, ways[:, dimension], classes=_WAYS)
        self._seen |= (encoded != 0).any(axis=0)
        size = np.abs(difference[ways != 0])
        if len(size):
            share = len(remarks) / (self.n_rows + len(remarks))
            self._step += share * (float(np.median(size)) - self._step)
        self.n_rows += len(remarks)

    def interpret(self, remarks: Remarks) -> Corrections:
        """
        :param remarks: What was said about n steps
        :return: What it asks for
        """
        n_rows = len(remarks)
        directions = np.zeros((n_rows, self.names.n_dimensions))
        nothing = np.zeros(n_rows)
        if self.n_rows < self.min_rows or not n_rows:
            return Corrections(directions, nothing, nothing, nothing)
        encoded = self._encode(remarks)
        confidence = np.zeros(n_rows)
        for dimension, model in enumerate(self._models):
            probabilities = model.predict_proba(self._features(encoded, remarks, dimension))
            directions[:, dimension] = _WAYS[probabilities.argmax(axis=1)]
            beyond_chance = (probabilities.max(axis=1) - 1 / 3) * 1.5
            confidence = np.where(directions[:, dimension] != 0, np.maximum(confidence, beyond_chance), confidence)
        confidence *= (encoded[:, self._seen] ** 2).sum(axis=1)
        confidence[~(directions != 0).any(axis=1)] = 0.0
        return Corrections(directions, np.full(n_rows, self._step), nothing, np.clip(confidence, 0.0, 1.0))

    def _encode(self, remarks: Remarks) -> np.ndarray:
        return check_encoded(self.encoder.encode(remarks.texts), len(remarks), self.encoder.size)

    def _features(self, encoded: np.ndarray, remarks: Remarks, dimension: int) -> np.ndarray:
        signs = np.sign(self.names.flatten(remarks.actions) - self._middle)[:, [dimension]]
        return np.hstack([encoded, encoded * signs])
