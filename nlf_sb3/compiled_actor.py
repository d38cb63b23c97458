"""A copy of a NumPy actor for one environment: the fewest operations for one observation at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nlf_sb3.numpy_actor import NumpyActor, softplus_std


class CompiledActor:
    """
    Samples as :class:`~nlf_sb3.numpy_actor.NumpyActor` does, one row at a time, from a copy of its parameters.

    Biases are columns of the weights, and noise comes in blocks: a call of NumPy's costs as much as many numbers. The copy
    is of the moment; make a new one whenever the policy has changed.

    :param actor: The actor to copy
    :param rng: Draws the samples
    """

    _block_size = 256

    def __init__(self, actor: NumpyActor, rng: np.random.Generator) -> None:
        self._actor = actor
        self._rng = rng
        self._family = actor.family
        widths = [actor.layers[0][0].shape[1], *(len(bias) for _, bias, _ in actor.layers)]
        inputs = [np.ones(width + 1, np.float32) for width in widths]  # the last of each stays 1, for the bias
        self._input = inputs[0][:-1]
        self._steps = [
            (np.column_stack([weight, bias]).dot, before, after[:-1], activation)
            for (weight, bias, activation), before, after in zip(actor.layers, inputs, inputs[1:], strict=False)
        ]
        self._outputs = inputs[-1][:-1]
        n_means = len(self._outputs) // 2 if self._family == "softplus" else len(self._outputs)
        self._mean, self._raw_std = self._outputs[:n_means], self._outputs[n_means:]
        self._std = np.float32(1) if actor.log_std is None else np.exp(actor.log_std)
        self._noise = np.empty((0, 1), np.float32)
        self._n_used = 0

    def __reduce__(self) -> tuple[type, tuple[NumpyActor, np.random.Generator], dict[str, Any]]:
        # Through the constructor: arrays here are views of one another, which copies would not be.
        return type(self), (self._actor, self._rng), {"_noise": self._noise, "_n_used": self._n_used}

    def act(self, observations: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """
        :param observations: One, in the policy's scale, ``[1, *obs_shape]``
        :param deterministic: Return the mode
        :return: The action as the policy proposes it: ``[1]`` integers, or ``[1, action_dim]`` floats, not clipped
        """
        self._input[:] = observations.reshape(self._input.shape)  # a single number would fill them all
        for dot, before, after, activation in self._steps:
            dot(before, after)
            if activation is not None:
                activation(after, after)
        outputs = self._outputs
        if self._family == "gaussian":
            drawn: np.ndarray = outputs.copy() if deterministic else outputs + self._next_noise(len(outputs), self._normal)
            return drawn[None]
        if self._family == "categorical":
            noisy = outputs if deterministic else outputs + self._next_noise(len(outputs), self._gumbel)
            return np.array([noisy.argmax()])
        mean = self._mean
        if deterministic:
            drawn = mean.copy()
            return drawn[None]
        drawn = softplus_std(self._raw_std)
        drawn *= self._next_noise(len(mean), self._normal)
        drawn += mean
        return drawn[None]

    def _next_noise(self, size: int, draw: Callable[[int], np.ndarray]) -> np.ndarray:
        if self._n_used == len(self._noise):
            self._noise, self._n_used = draw(size), 0
        self._n_used += 1
        noise: np.ndarray = self._noise[self._n_used - 1]
        return noise

    def _normal(self, size: int) -> np.ndarray:
        noise = self._rng.standard_normal((self._block_size, size), dtype=np.float32)
        noise *= self._std
        return noise

    def _gumbel(self, size: int) -> np.ndarray:
        return self._rng.gumbel(size=(self._block_size, size))
