"""What an expert does and where, as rows to imitate: whole episodes of its own, cut at a number of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import require
from nlf_sb3.experiments.compare.expert_policy import ExpertPolicy
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.interop.imitation import to_demonstrations
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers import Expert

if TYPE_CHECKING:
    from imitation.data.types import Transitions

_CHUNK = 1_000
"""Rows of a call of imitation's, which adds up all of its episodes' lengths at every step."""


def seeded_expert(task: Task) -> Expert:
    """
    :param task: The task, with an expert
    :return: Its expert, whose generator starts from the task's seed
    """
    assert task.expert is not None
    task.expert.seed(derived_seed(task.seed, "expert"))
    return task.expert


def seeded_env(task: Task, purpose: str) -> VecEnv:
    """
    :param task: The task
    :param purpose: What the environment is for: each has seeds of its own
    :return: One environment, vectorised
    """
    env = DummyVecEnv([task.make_env])
    env.seed(derived_seed(task.seed, purpose))
    return env


def expert_rows(task: Task, n_rows: int) -> Transitions:
    """
    :param task: The task, with an expert
    :param n_rows: How many; the last episode is cut there
    :return: Rows of the expert's own episodes, as imitation's
    :raises MissingExtraError: Without imitation
    """
    rollout: Any = require("imitation.data.rollout", "imitation", "Demonstrations of an expert")
    env = seeded_env(task, "demonstrations")
    policy = ExpertPolicy(seeded_expert(task), env.observation_space, env.action_space)
    rng = derived_generator(task.seed, "demonstrations")
    episodes: list[Any] = []
    while (missing := n_rows - sum(map(len, episodes))) > 0:
        episodes += rollout.generate_trajectories(policy, env, rollout.make_min_timesteps(min(missing, _CHUNK)), rng)
    env.close()
    return rollout.flatten_trajectories(episodes)[:n_rows]  # type: ignore[no-any-return]


def expert_demonstrations(task: Task, n_rows: int) -> Demonstrations:
    """
    :param task: The task, with an expert
    :param n_rows: How many
    :return: The same rows as :class:`~nlf_sb3.Demonstrations`, which say whether the expert's actions are its mode
    :raises MissingExtraError: Without imitation
    """
    env = task.make_env()
    assert task.expert is not None
    return to_demonstrations(
        expert_rows(task, n_rows),
        label=task.expert.label,
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
