"""Tell the environments' TrajectoryInjection how far training is."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.foreign_vec_envs import ask_wrappers
from nlf_sb3.wrappers import TrajectoryInjection


class ProgressTeller:
    """
    Tells environments with a schedule how much of training remains, before each rollout.

    :param model: The algorithm's model
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._scheduled_envs: list[int] = []

    def begin(self, total_timesteps: int, reset_num_timesteps: bool) -> None:
        """
        Find the environments that ask, and tell them before the reset that begins their first episodes.

        :param total_timesteps: As in ``learn``
        :param reset_num_timesteps: As in ``learn``
        """
        self._scheduled_envs = [] if self._model.env is None else _scheduled(self._model.env)
        done = 0 if reset_num_timesteps else self._model.num_timesteps
        self.tell(done, done + total_timesteps)

    def tell(self, done: int, total: int) -> None:
        """
        :param done: Steps taken
        :param total: Steps of the training
        """
        if self._scheduled_envs:
            remaining = 1.0 - done / max(total, 1)
            self._model.env.env_method("nlf_sb3_set_progress", remaining, indices=self._scheduled_envs)


def _scheduled(env: VecEnv) -> list[int]:
    """Indices of environments whose TrajectoryInjection has a schedule."""
    flags = ask_wrappers(env, TrajectoryInjection, "nlf_sb3_is_scheduled")
    return [index for index, is_scheduled in flags.items() if is_scheduled]
