"""The recipe of the expert that the package ships, and its test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3 import presets
from nlf_sb3.algorithms import REINFORCE
from nlf_sb3.experiments.protocols import ENV_ID
from nlf_sb3.teachers import Expert, PolicyExpert

RECIPE_SEED = 0
RECIPE_STEPS = 5_000_000
RECIPE_LEARNING_RATE = 5e-4
RECIPE_PERFECT_EPISODES = 1500
MAX_RETURN = 1000.0


class _StopWhenPerfect(BaseCallback):
    """Stops once this many episodes in a row had the maximum return, actions sampled."""

    def __init__(self, episodes: int, report: Callable[[int, float], None] | None) -> None:
        super().__init__()
        self._episodes = episodes
        self._report = report
        self._in_a_row = 0

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self._in_a_row = self._in_a_row + 1 if info["episode"]["r"] >= MAX_RETURN else 0
                if self._report is not None:
                    self._report(self.num_timesteps, info["episode"]["r"])
        return self._in_a_row < self._episodes


def falling_learning_rate(progress_remaining: float) -> float:
    """
    The recipe's step. The order of operations is part of it: another rounding may end in other weights.

    :param progress_remaining: 1 at the start, 0 at the end, as in SB3; below 0 where the last episode runs over
    :return: The learning rate
    """
    return RECIPE_LEARNING_RATE - min(1.0 - progress_remaining, 1.0) * RECIPE_LEARNING_RATE


def train_expert(path: str | Path, report: Callable[[int, float], None] | None = None) -> PolicyExpert:
    """
    Train the expert with this library's REINFORCE and save it: the paper's arguments, a larger
    step that shrinks to nothing, no feedback.

    Varied start states; it ends early when 1,500 episodes in a row have had the maximum return.

    :param path: Where to save it
    :param report: Called with steps and return after each episode
    :return: The expert
    """
    th.set_num_threads(1)
    arguments = {**presets.paper(), "learning_rate": falling_learning_rate}
    model = REINFORCE(env=ENV_ID, seed=RECIPE_SEED, device="cpu", **arguments)
    model.learn(RECIPE_STEPS, callback=_StopWhenPerfect(RECIPE_PERFECT_EPISODES, report))
    model.save(path, exclude=["_last_obs", "_last_episode_starts", "ep_info_buffer", "ep_success_buffer"])
    return PolicyExpert.load(path)


def evaluate_expert(expert: Expert, episodes: int = 100) -> np.ndarray:
    """
    :param expert: The expert
    :param episodes: Episodes, with seeds from 10,000 on
    :return: Their returns, ``[episodes]``
    """
    env = gym.make(ENV_ID)
    returns = np.zeros(episodes)
    for episode in range(episodes):
        observation, _ = env.reset(seed=10_000 + episode)
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(expert.act(observation[None])[0])
            returns[episode] += float(reward)
            done = terminated or truncated
    return returns
