"""Small environments, experts and teachers that the cases train on. They draw from the reset seed alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution

ACTION_SPACES: dict[str, spaces.Space] = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(2),
}
VECTOR = spaces.Box(-10.0, 10.0, (3,), np.float32)
REMARKS = ("too far left", "more to the right", "well done", "you should have gone left", "no!", "the sky is blue")


class Walk(gym.Env):
    """
    A noisy walk whose episodes have random lengths and random kinds of end. It never forbids the first choice.

    :param action: Key of :data:`ACTION_SPACES`
    :param is_dict: Whether observations are a dict of a vector and a number
    """

    def __init__(self, action: str = "box", is_dict: bool = False) -> None:
        self.action_space = ACTION_SPACES[action]
        self.observation_space = spaces.Dict({"vector": VECTOR, "kind": spaces.Discrete(3)}) if is_dict else VECTOR
        self._is_dict = is_dict

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._length = int(self.np_random.integers(3, 10))
        self._terminates = bool(self.np_random.integers(2))
        self._state = self.np_random.uniform(-1, 1, 3)
        self._n_steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        push = float(np.sum(action))
        self._state = 0.8 * self._state + 0.3 * np.tanh([push, -push, 0.5]) + 0.2 * self.np_random.standard_normal(3)
        self._n_steps += 1
        is_over = self._n_steps >= self._length
        reward = 1.0 - float(np.abs(self._state).sum()) + 0.3 * push
        return self._observation(), reward, is_over and self._terminates, is_over and not self._terminates, {}

    def action_masks(self) -> np.ndarray:
        """The last choice is forbidden in every other step."""
        n_choices = int(np.sum(getattr(self.action_space, "nvec", getattr(self.action_space, "n", 0))))
        masks = np.ones(n_choices, dtype=bool)
        masks[-1] = self._n_steps % 2 == 0
        return masks

    def _observation(self) -> Any:
        vector = self._state.astype(np.float32)
        return {"vector": vector, "kind": self._n_steps % 3} if self._is_dict else vector


def vectors_of(observations: Any) -> np.ndarray:
    """The vector of each observation, shape (n, 3)."""
    return np.asarray(observations["vector"] if isinstance(observations, dict) else observations)


def expert_actions(action: str) -> Any:
    """A function of observations of shape (n, 3) that gives actions which no mask forbids."""

    def act(observations: Any) -> np.ndarray:
        vectors = vectors_of(observations)
        first = (vectors[:, 0] > 0).astype(np.int64)
        if action == "box":
            return (0.7 * np.tanh(vectors[:, :2] * [1.0, -2.0])).astype(np.float32)
        if action == "discrete":
            return first
        return np.stack([first, np.zeros_like(first)], axis=1)

    return act


def gaussian_at(observations: np.ndarray) -> DiagGaussianDistribution:
    """The distribution of a Gaussian expert on the Box."""
    mean = th.as_tensor(expert_actions("box")(observations))
    return DiagGaussianDistribution(2).proba_distribution(mean, th.full_like(mean, -1.0))


def categorical_at(observations: np.ndarray) -> CategoricalDistribution:
    """The distribution of an expert on three choices."""
    weights = np.array([[1.0, 0.0, -1.0], [0.5, -0.5, 0.0], [0.0, 0.3, 0.6]], dtype=np.float32)
    return CategoricalDistribution(3).proba_distribution(th.as_tensor(vectors_of(observations) @ weights))


def recorded_rows(action: str, n_rows: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Observations and an expert's actions."""
    observations = np.random.default_rng(3).uniform(-1, 1, (n_rows, 3)).astype(np.float32)
    return observations, expert_actions(action)(observations)
