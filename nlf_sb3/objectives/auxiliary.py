"""Auxiliary losses: they shape the policy beside its objective, on the same minibatches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch as th
from stable_baselines3.common.logger import Logger

from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents


class AuxiliaryLoss(Protocol):
    """
    Maps a model and a minibatch, whose forward pass ``model.policy`` has just made, to a loss.

    ``batch.distribution`` is the policy's of that minibatch, and has to stay so (SB3's policies refill one object at each
    forward pass); ``batch.observations`` and ``batch.actions`` are the policy's inputs. The loss is a scalar with a
    graph, its coefficient in it, or None where there is nothing to learn.
    """

    name: str

    def __call__(self, model: Any, batch: Minibatch) -> th.Tensor | None: ...


class AuxiliaryTerm:
    """
    All auxiliary losses of one update.

    :param model: The algorithm's model
    :param losses: The losses
    """

    def __init__(self, model: Any, losses: Sequence[AuxiliaryLoss]) -> None:
        self._model = model
        self._losses = losses
        self._values: dict[str, list[float]] = {}

    def __call__(self, batch: Minibatch, scale: float) -> Cotangents:
        """
        :param batch: The minibatch
        :param scale: Factor of the losses
        :return: Their derivatives times that factor
        """
        cotangents: Cotangents = []
        for auxiliary in self._losses:
            loss = auxiliary(self._model, batch)
            if loss is not None:
                self._values.setdefault(auxiliary.name, []).append(loss.item())
                cotangents.append((loss, th.full_like(loss, scale)))
        return cotangents

    def record(self, logger: Logger) -> None:
        """
        :param logger: Receives the mean of each loss, ``train/<name>_loss``
        """
        for name, values in self._values.items():
            logger.record(f"train/{name}_loss", float(np.mean(values)))
