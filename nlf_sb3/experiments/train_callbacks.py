"""What watches a training run: checkpoints between updates, evaluations that survive a break, and a progress bar."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, TaskID
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from nlf_sb3.experiments.train_folder import RunFolder, save_statistics

_SECONDS_BETWEEN_UPDATES = 0.2


class KeepCheckpoints(BaseCallback):
    """
    Saves checkpoints between updates alone, where no step is half used: a run that goes on from one has nothing to
    make up for, and takes as many steps as one that was never interrupted.

    :param folder: The run's folder
    :param every: Steps between checkpoints; 0 for none on the way
    :param counts: What earlier sessions counted
    """

    def __init__(self, folder: RunFolder, every: int, counts: dict[str, float]) -> None:
        super().__init__()
        self.episodes = int(counts.get("episodes", 0))
        self.saved: int | None = None
        self._folder = folder
        self._every = every
        self._seconds_before = counts.get("seconds", 0.0)
        self._begin = time.perf_counter()
        self._stop = False
        self._collecting = False

    def request_stop(self) -> None:
        """Stop at the next step; an update under way is finished first."""
        self._stop = True

    def seconds(self) -> float:
        """Seconds of training, earlier sessions' included."""
        return self._seconds_before + time.perf_counter() - self._begin

    def save(self) -> None:
        """Save a checkpoint of the model as it is now."""
        steps = self.model.num_timesteps
        self._folder.checkpoint(steps).save(self.model, {"episodes": self.episodes, "seconds": round(self.seconds(), 3)})
        self.saved = steps

    def save_interrupted(self) -> None:
        """Save a checkpoint as of the last update: steps since then have trained nothing, and are taken again."""
        if self._collecting:
            model: Any = self.model
            model.num_timesteps, counts = self._at_rollout_start
            model.feedback.statistics.load_state_dict(counts)
            self.episodes = self._episodes_at_rollout_start
            self.save()

    def _on_training_start(self) -> None:
        self.saved = self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        assert self.saved is not None
        model: Any = self.model
        self._at_rollout_start = model.num_timesteps, model.feedback.statistics.state_dict()
        self._episodes_at_rollout_start = self.episodes
        self._collecting = True
        if self._every and self.model.num_timesteps - self.saved >= self._every:
            self.save()

    def _on_step(self) -> bool:
        if self._stop:
            raise KeyboardInterrupt
        self.episodes += sum(info.get("episode") is not None for info in self.locals["infos"])
        return True

    def _on_rollout_end(self) -> None:
        self._collecting = False


class ShowProgress(BaseCallback):
    """
    Moves a bar of steps that names the mean return of the last 100 episodes.

    :param progress: The display
    :param task: The bar
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        super().__init__()
        self._progress = progress
        self._task = task
        self._next = 0.0

    def _on_step(self) -> bool:
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_UPDATES
            self._show()
        return True

    def _on_training_end(self) -> None:
        self._show()

    def _show(self) -> None:
        mean = mean_return(self.model)
        description = "steps" if mean is None else f"steps, mean return {mean:.1f}"
        self._progress.update(self._task, completed=self.model.num_timesteps, description=description)


class _SaveBestStatistics(BaseCallback):
    """VecNormalize statistics beside the best model."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def _on_step(self) -> bool:
        save_statistics(self.model, self._path)
        return True


def make_evaluation(
    callback_class: type[EvalCallback], folder: RunFolder, env: Any, *, every: int, episodes: int, done: int, n_envs: int
) -> EvalCallback:
    """
    SB3's evaluation, which keeps the best model and writes evaluations.npz; what is in that file already stays.

    :param callback_class: EvalCallback, or sb3-contrib's for masks
    :param folder: The run's folder
    :param env: The evaluation environment
    :param every: Steps between evaluations
    :param episodes: Episodes of each
    :param done: Steps that the run has taken before
    :param n_envs: Training environments
    :return: The callback
    """
    callback = callback_class(
        env,
        callback_on_new_best=_SaveBestStatistics(folder.path / "best_model_vecnormalize.pkl"),
        n_eval_episodes=episodes,
        eval_freq=max(every // n_envs, 1),
        log_path=str(folder.path),
        best_model_save_path=str(folder.path),
        verbose=0,
    )
    callback.n_calls = done // n_envs
    file = folder.path / "evaluations.npz"
    if file.exists():
        with np.load(file) as earlier:
            arrays = dict(earlier)
        kept = arrays["timesteps"] <= done
        callback.evaluations_timesteps = arrays["timesteps"][kept].tolist()
        callback.evaluations_results = arrays["results"][kept].tolist()
        callback.evaluations_length = arrays["ep_lengths"][kept].tolist()
        if "successes" in arrays:
            callback.evaluations_successes = arrays["successes"][kept].tolist()
        callback.best_mean_reward = float(arrays["results"].mean(axis=1).max())
    return callback


def mean_return(model: Any) -> float | None:
    """
    :param model: A model in training
    :return: Mean return of its last 100 episodes (``stats_window_size``); None before the first has ended
    """
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    return float(np.mean(returns)) if returns else None


@contextmanager
def interrupts_ask(request: Callable[[], None]) -> Iterator[None]:
    """
    Let the first Ctrl-C, or the first SIGTERM of a cluster, ask, so that no update is cut in half; the next one ends
    things at once.

    :param request: Called at the first one
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: Any) -> None:
        request()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
