"""Injected episodes come and go; the memory that holds them doesn't grow."""

import os

import gymnasium as gym
import psutil
from helpers import PENDULUM
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3 import REINFORCE, TrajectoryInjection, presets
from nlf_sb3.teachers import LQRExpert


class MemoryOfEpisodes(BaseCallback):
    def __init__(self, episodes: int) -> None:
        super().__init__()
        self.megabytes: list[float] = []
        self.episodes = episodes

    def _on_step(self) -> bool:
        if self.locals["dones"][0]:
            self.megabytes.append(psutil.Process(os.getpid()).memory_info().rss / 2**20)
        return len(self.megabytes) < self.episodes


def test_resident_memory_stays_flat_over_injected_episodes():
    # The bar is 50 MB from episode 100 to 600 with whole expert episodes (benchmarks/memory.py). Shorter
    # segments are enough to see what keeps a graph or a segment: 400 episodes of 150 rows.
    env = gym.make(PENDULUM)
    env = TrajectoryInjection(env, LQRExpert.from_env(env, std=0.1), max_segment_steps=150)
    memory = MemoryOfEpisodes(500)
    REINFORCE(env=env, seed=1, device="cpu", **{**presets.paper(), "baseline": True}).learn(10**9, callback=memory)
    assert memory.megabytes[499] - memory.megabytes[99] < 10
