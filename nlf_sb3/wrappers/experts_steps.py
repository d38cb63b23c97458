"""Which steps of an episode are the expert's: drawn from a distribution that may move during training."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from nlf_sb3.whole_numbers import check_whole_number

Schedule = Callable[[float], float]
"""Maps the progress remaining (1 at the start, 0 at the end, as in SB3) to a number in [0, 1]."""

_NEVER = sys.maxsize


class ForkPoints:
    """
    Has the expert come in before each step with probability p, and stay.

    :param probability: p, in (0, 1], or a schedule of it
    :param max_steps: How many steps it stays at most; None for no limit
    :raises ValueError: If p isn't a probability
    """

    def __init__(self, probability: float | Schedule, max_steps: int | None) -> None:
        is_number = isinstance(probability, numbers.Real) and not isinstance(probability, bool)
        if not callable(probability) and not (is_number and 0.0 < probability <= 1.0):  # type: ignore[operator]
            raise ValueError(
                f"fork_probability: got {probability}, expected a number in (0, 1], or a function of the progress remaining."
            )
        self.is_scheduled = callable(probability)
        self._probability = probability
        self._max_steps = max_steps
        self.set_progress(0.0)  # raises now, rather than in a worker process at the end of training
        self.set_progress(1.0)

    def set_progress(self, progress_remaining: float) -> None:
        """
        :param progress_remaining: 1 at the start of training, 0 at its end
        :raises ValueError: If the schedule returns no probability
        """
        self._now = _value(self._probability, progress_remaining, "fork_probability")

    def draw(self, rng: np.random.Generator) -> range:
        """
        :param rng: Draws the first of them
        :return: The expert's steps
        """
        start = _NEVER if self._now == 0.0 else int(rng.geometric(self._now)) - 1
        return range(start, _NEVER if self._max_steps is None else start + self._max_steps)


class GuideSteps:
    """
    Has the expert act first, for a number of steps that is uniform on 0, 1, ..., H.

    :param steps: H, or a schedule of the fraction of the horizon that it is
    :param horizon: Steps of an episode at most; None for the time limit in the environment's spec
    :param env: The environment
    :raises ValueError: If H is no number of steps, or the horizon isn't known
    """

    def __init__(self, steps: int | Schedule, horizon: int | None, env: gym.Env) -> None:
        self.is_scheduled = callable(steps)
        self._fraction: float | Schedule = 1.0
        if callable(steps):
            self._fraction, self._horizon = steps, _horizon(horizon, env)
        else:
            self._horizon = check_whole_number("guide_steps", steps, 0)
        self.set_progress(0.0)
        self.set_progress(1.0)

    def set_progress(self, progress_remaining: float) -> None:
        """
        :param progress_remaining: 1 at the start of training, 0 at its end
        :raises ValueError: If the schedule returns no fraction
        """
        self._most = round(_value(self._fraction, progress_remaining, "guide_steps") * self._horizon)

    def draw(self, rng: np.random.Generator) -> range:
        """
        :param rng: Draws their number
        :return: The expert's steps
        """
        return range(int(rng.integers(self._most + 1)))


def _value(schedule: float | Schedule, progress_remaining: float, name: str) -> float:
    if not callable(schedule):
        return float(schedule)
    # SB3's last rollout may overshoot total_timesteps.
    value = float(schedule(min(max(progress_remaining, 0.0), 1.0)))
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: its schedule returned {value} at progress {progress_remaining}, expected one in [0, 1].")
    return value


def _horizon(horizon: Any, env: gym.Env) -> int:
    if horizon is None:
        spec = env.spec
        horizon = None if spec is None else spec.max_episode_steps
        if horizon is None:
            raise ValueError(
                "guide_steps: a schedule is a fraction of the horizon, and the environment's spec has no time limit. "
                "Pass horizon=, the longest episode's number of steps."
            )
    return check_whole_number("horizon", horizon, 1)
