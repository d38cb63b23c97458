"""Resident memory of injection under the paper's protocol, from episode 100 to 600: python benchmarks/memory.py"""

import argparse
import os

import psutil
from rich.progress import track
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.experiments.protocols import PROTOCOLS, make_model


class MemoryAtEpisodes(BaseCallback):
    """Notes the process's resident memory as episodes end, and stops after the last of them."""

    def __init__(self, last_episode: int) -> None:
        super().__init__()
        self.megabytes: list[float] = []
        self._process = psutil.Process(os.getpid())
        self._bar = iter(track(range(last_episode), description="injected episodes"))
        self._last_episode = last_episode

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.megabytes.append(self._process.memory_info().rss / 2**20)
                next(self._bar, None)
        return len(self.megabytes) < self._last_episode

    def _on_training_end(self) -> None:
        next(self._bar, None)  # closes the bar


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=100, help="episode at which the count begins")
    parser.add_argument("--last", type=int, default=600, help="episode at which it ends")
    arguments = parser.parse_args()
    memory = MemoryAtEpisodes(arguments.last)
    make_model(PROTOCOLS["paper"], "injection", arguments.seed).learn(10**12, callback=memory)
    first, last = memory.megabytes[arguments.first - 1], memory.megabytes[arguments.last - 1]
    print(f"episode {arguments.first}: {first:.1f} MB, episode {arguments.last}: {last:.1f} MB, growth {last - first:.1f} MB")
