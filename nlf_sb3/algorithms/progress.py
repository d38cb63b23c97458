"""Tell the environments' TrajectoryInjection how far training is."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.settings import FeedbackSettings
from nlf_sb3.foreign_vec_envs import ask_wrappers
from nlf_sb3.wrappers import TrajectoryInjection


class TellsProgress(FeedbackSettings):
    """Says before each rollout how much of training remains, to environments that have a schedule which asks."""

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> Any:
        self._scheduled_envs = [] if self.env is None else _scheduled(self.env)
        done = 0 if reset_num_timesteps else self.num_timesteps
        self._tell_progress(done, done + total_timesteps)  # before the reset that begins the first episodes
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        """
        As in the original.

        :param env: As in the original
        :return: As in the original
        """
        self._tell_progress(self.num_timesteps, self._total_timesteps)
        return super().collect_rollouts(env, *args, **kwargs)

    def _tell_progress(self, done: int, total: int) -> None:
        if self._scheduled_envs:
            assert self.env is not None
            self.env.env_method("nlf_sb3_set_progress", 1.0 - done / max(total, 1), indices=self._scheduled_envs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_scheduled_envs"]


def _scheduled(env: VecEnv) -> list[int]:
    """Indices of environments whose TrajectoryInjection has a schedule."""
    flags = ask_wrappers(env, TrajectoryInjection, "nlf_sb3_is_scheduled")
    return [index for index, is_scheduled in flags.items() if is_scheduled]
