"""Jump-Start RL: a curriculum that hands more and more of every episode from a guide to the agent."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

from nlf_sb3.algorithms import PPO
from nlf_sb3.experiments.compare.demonstrated_ppo import ppo_arguments
from nlf_sb3.experiments.compare.expert_policy import ExpertPolicy
from nlf_sb3.experiments.compare.expert_rows import seeded_env, seeded_expert
from nlf_sb3.experiments.compare.jump_start import JumpStart
from nlf_sb3.experiments.compare.task import Task

STAGES = 10
WINDOW = 5
"""Training episodes in the moving average."""
TOLERANCE = 0.05
"""How far below the best so far the moving average may lie, as a share of it."""
_EPISODES_OF_GUIDE = 5


class ShrinkingGuide(BaseCallback):
    """
    Takes steps from the guide whenever the guide and the agent together do about as well as they ever did.

    Stage k of n leaves the guide the first 1 - k/n of the horizon's steps, so that the last has none. A stage ends when the
    mean return of its last :data:`WINDOW` training episodes is within the tolerance of the best such mean.

    :param env: The environment with the guide, around its Monitor
    :param horizon: Steps that the guide's own episodes have
    :param expert_steps: Steps that the guide took before
    """

    def __init__(self, env: JumpStart, horizon: int, expert_steps: int = 0) -> None:
        super().__init__()
        self._env = env
        self._horizon = horizon
        self._expert_steps = expert_steps
        self._returns: deque[float] = deque(maxlen=WINDOW)
        self._best = -np.inf
        self.stage = 0
        self._next_stage()

    def _next_stage(self) -> None:
        self.stage += 1
        self._env.guide_steps = round(self._horizon * (1 - self.stage / STAGES))
        self._returns.clear()

    def _on_step(self) -> bool:
        self._returns.extend(info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        model: Any = self.model
        model.feedback.statistics.expert_steps = self._expert_steps + self._env.num_guide_steps
        if len(self._returns) == WINDOW and self.stage < STAGES:
            mean = float(np.mean(self._returns))
            is_as_good = mean >= self._best - TOLERANCE * abs(self._best)
            self._best = max(self._best, mean)
            if is_as_good:
                self._next_stage()
        return True


def train_jsrl(task: Task) -> None:
    """
    Jump-Start RL with its curriculum (Uchendu et al., 2022, https://arxiv.org/abs/2204.02372), PPO underneath.

    The horizon is the mean length of the guide's own episodes. Progress is judged by training episodes, which the guide and
    the agent play together; evaluations are the agent's alone. Steps of the guide are the expert's, and label nothing.

    :param task: What to do; its arguments are PPO's
    """
    guide = seeded_expert(task)
    alone = seeded_env(task, "guide")
    policy = ExpertPolicy(guide, alone.observation_space, alone.action_space)
    _, lengths = evaluate_policy(policy, alone, _EPISODES_OF_GUIDE, return_episode_rewards=True)
    alone.close()
    env = JumpStart(task.make_env(), guide)
    curriculum = ShrinkingGuide(env, round(np.mean(lengths)), policy.n_answers)
    model = PPO(env=env, seed=task.seed, **ppo_arguments(task))
    model.learn(task.timesteps, callback=[curriculum, task.recorder.callback()])
    env.close()
