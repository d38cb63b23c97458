"""Injection by the paper's protocol, beside the same written straight in PyTorch; time and peak memory."""

from __future__ import annotations

import tempfile
import time
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from nlf_sb3.experiments.bench.direct_injection import DirectInjection
from nlf_sb3.experiments.bench.processes import call_alone, peak_megabytes
from nlf_sb3.experiments.bench.records import Figure, Numbers, Reach, Trial, ratio_of_times, scaled
from nlf_sb3.experiments.bench.timing import Elapsed, one_thread, timed
from nlf_sb3.experiments.protocols import PROTOCOLS, make_model
from nlf_sb3.experiments.recording import EpisodeRecorder

EPISODES = 100
COMPARED_EPISODES = 20
"""The first of them, beside as many of the direct one, which is slow."""
_NO_LIMIT = 10**12


class UpdateClock(BaseCallback):
    """
    Notes when so many rollouts had been trained on, and stops after the last of these numbers.

    A callback that stops training at a rollout's end would leave its update out.

    :param rollouts: Numbers of rollouts
    """

    def __init__(self, *rollouts: int) -> None:
        super().__init__()
        self.elapsed: dict[int, Elapsed] = {}
        self._wanted = rollouts
        self._done = 0

    def _on_training_start(self) -> None:
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def _on_rollout_start(self) -> None:
        if self._done in self._wanted:
            self.elapsed[self._done] = Elapsed(time.perf_counter() - self._start, time.process_time() - self._cpu_start)

    def _on_step(self) -> bool:
        return self._done < max(self._wanted)

    def _on_rollout_end(self) -> None:
        self._done += 1


def train_ours(compared_episodes: int, episodes: int, seed: int) -> Numbers:
    """
    Train in this process, which should be a new one.

    :param compared_episodes: The first episodes, whose time is noted too
    :param episodes: All of the agent's episodes
    :param seed: The run's seed
    :return: Seconds, megabytes, steps of both environments, updates, and the agent's mean return
    """
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episodes.csv"
        model = make_model(PROTOCOLS["paper"], "injection", seed)
        clock = UpdateClock(compared_episodes, episodes)  # a rollout is one episode here
        recorder = EpisodeRecorder(path, "paper", "injection", seed, episodes=_NO_LIMIT)
        model.learn(_NO_LIMIT, callback=CallbackList([recorder, clock]))
        returns = np.loadtxt(path, delimiter=",", skiprows=1, usecols=4, ndmin=1)
    return {
        **clock.elapsed[episodes].named("ours"),
        **clock.elapsed[compared_episodes].named("ours_compared"),
        "ours_megabytes": peak_megabytes(),
        "ours_episodes": len(returns),
        "ours_compared_episodes": compared_episodes,
        "ours_steps": model.num_timesteps + model.num_expert_steps,
        "ours_updates": _updates(model.policy.optimizer),
        "ours_mean_return": float(returns.mean()),
    }


def train_direct(episodes: int, seed: int) -> Numbers:
    """
    The same of :class:`DirectInjection`.

    :param episodes: All of the agent's episodes
    :param seed: The run's seed
    :return: As :func:`train_ours`
    """
    with one_thread():
        direct = DirectInjection(seed)
        elapsed, _ = timed(lambda: direct.train(episodes))
    return {
        **elapsed.named("direct"),
        "direct_megabytes": peak_megabytes(),
        "direct_episodes": len(direct.returns),
        "direct_steps": direct.steps,
        "direct_updates": _updates(direct.optimizer),
        "direct_mean_return": float(np.mean(direct.returns)),
    }


def _updates(optimizer: th.optim.Optimizer) -> int:
    return max(int(state["step"]) for state in optimizer.state.values())


def trials() -> list[Trial]:
    """The part ``injection``. Each run is a new process: nothing warms up, and its peak memory is its own."""
    compared = f"{COMPARED_EPISODES} episodes"
    figures = (
        Figure(f"{EPISODES} episodes", "s", itemgetter("ours_seconds"), of_cpu=itemgetter("ours_cpu_seconds")),
        Figure(f"{EPISODES} episodes, peak memory", "MB", itemgetter("ours_megabytes"), Reach("<", 500)),
        ratio_of_times(compared, "x PyTorch's speed", "direct", "ours_compared", Reach(">=", 15)),
        Figure(f"{compared}, plain PyTorch", "s", itemgetter("direct_seconds"), of_cpu=itemgetter("direct_cpu_seconds")),
        Figure(f"{compared}, plain PyTorch, peak memory", "MB", itemgetter("direct_megabytes")),
    )
    return [Trial("beside plain PyTorch", beside_direct, figures, warm_up=False, most_repeats=3)]


def beside_direct(seed: int, scale: float) -> Numbers:
    """
    :param seed: Seed of both
    :param scale: Factor on the numbers of episodes
    :return: What :func:`train_ours` and :func:`train_direct` measured
    """
    compared, episodes = scaled(COMPARED_EPISODES, scale), scaled(EPISODES, scale)
    ours: Numbers = call_alone(train_ours, compared, episodes, seed)
    direct: Numbers = call_alone(train_direct, compared, seed)
    return {**ours, **direct}
