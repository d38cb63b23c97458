"""What an arm is given to do: an environment, a budget, a teacher, and whom to report to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor

from nlf_sb3.experiments.compare.recorder import Recorder
from nlf_sb3.teachers import Expert


@dataclass(frozen=True)
class Task:
    """
    One training run as its arm sees it.

    :param env_id: Gymnasium's id of the environment
    :param seed: Seed of everything that is drawn
    :param timesteps: The most steps that the agent may take
    :param expert: Who teaches; None in arms without a teacher
    :param expert_name: The expert's name on the command line
    :param arguments: What the command line overrides of the arm's arguments
    :param recorder: Evaluates the agent as it trains
    :param expert_return: What the arm may know of the expert's mean return; None for nothing
    """

    env_id: str
    seed: int
    timesteps: int
    expert: Expert | None
    expert_name: str
    arguments: dict[str, Any]
    recorder: Recorder
    expert_return: float | None = None

    def make_env(self) -> gym.Env:
        """The environment as Gymnasium makes it, in a Monitor; whoever trains in it seeds it."""
        env: gym.Env = gym.make(self.env_id)
        return Monitor(env)
