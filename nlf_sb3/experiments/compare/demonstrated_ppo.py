"""Baselines that start PPO from demonstrations: cloned first, and imitated on the way (DAPG)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nlf_sb3.algorithms import PPO
from nlf_sb3.config import as_imitation
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.experiments.compare.counting import GradientSteps
from nlf_sb3.experiments.compare.expert_rows import expert_demonstrations
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.experiments.fields import with_fields
from nlf_sb3.interop.imitation import warm_start
from nlf_sb3.label_weights import LargestAdvantage
from nlf_sb3.schedules import GeometricSchedule

DEMONSTRATED = 0.1
"""Rows of demonstrations, and steps of the critic's warm-up, as shares of the agent's steps."""
LAMBDA_0, LAMBDA_1 = 0.1, 0.95
"""DAPG's own: weight of imitation at first, and its factor from one update to the next."""


def train_bc_ppo(task: Task) -> None:
    """
    Behavioural cloning, then PPO: the clone's critic is warmed up in between, or PPO would take the clone apart.

    :param task: What to do; its arguments are PPO's
    """
    demonstrations = expert_demonstrations(task, _share(task))
    _train_from(task, PPO(env=task.make_env(), seed=task.seed, **ppo_arguments(task)), demonstrations)


def train_dapg(task: Task) -> None:
    """
    DAPG (Rajeswaran et al., 2018, https://arxiv.org/abs/1709.10087) with PPO in the place of its natural gradient.

    The policy is cloned first, and goes on imitating the demonstrations with a weight that decays
    (:class:`~nlf_sb3.schedules.GeometricSchedule`, :class:`~nlf_sb3.label_weights.LargestAdvantage`). The means over
    demonstrations and over the rollout's rows are weighed against each other, as everywhere in this package, where the paper
    weighs sums.

    :param task: What to do; its arguments are PPO's
    """
    demonstrations = expert_demonstrations(task, _share(task))
    arguments = ppo_arguments(task)
    arguments |= {
        "demonstrations": demonstrations,
        "alpha": GeometricSchedule(LAMBDA_0, LAMBDA_1),
        "imitation": replace(as_imitation(arguments.get("imitation", "nll")), weights=[LargestAdvantage()]),
    }
    _train_from(task, PPO(env=task.make_env(), seed=task.seed, **arguments), demonstrations)


def ppo_arguments(task: Task) -> dict[str, Any]:
    """
    :param task: The task
    :return: Arguments of PPO: Stable-Baselines3's own numbers, and what the task overrides. The larger steps and shorter
        rollouts of :func:`nlf_sb3.presets.feedback` suit labels on every step and take a clone apart: on Hopper, in 10,000
        steps of one seed, it fell from 1,006 to 210 by those, and rose to 1,436 by these.
    """
    return with_fields({"policy": "MlpPolicy", "device": "cpu", **task.arguments})


def _share(task: Task) -> int:
    return max(1, int(DEMONSTRATED * task.timesteps))


def _train_from(task: Task, model: PPO, demonstrations: Demonstrations) -> None:
    """Clone demonstrations into a model, warm its critic up, and let it learn for the steps that remain."""
    # A warm-up takes whole rollouts: there is none where the first would leave nothing.
    critic_steps = _share(task) if task.timesteps > model.n_steps else 0
    with GradientSteps() as gradient_steps:
        warm_start(model, demonstrations, critic_steps=critic_steps)
    labels = len(demonstrations)
    callback = task.recorder.callback(expert_steps=labels, expert_labels=labels, gradient_steps=gradient_steps.count)
    model.learn(task.timesteps - model.num_timesteps, callback=callback, reset_num_timesteps=False)
    assert model.env is not None
    model.env.close()
