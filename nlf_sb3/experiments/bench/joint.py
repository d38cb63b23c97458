"""A2C and PPO with an expert's labels, beside Stable-Baselines3's own."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import Any

import numpy as np
import stable_baselines3
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

import nlf_sb3
from nlf_sb3.experiments.bench.records import Numbers, Reach, Trial, ratio_of_times, scaled
from nlf_sb3.experiments.bench.timing import Elapsed, timed
from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.teachers import PolicyExpert

N_ENVS = 8
ROUNDS = 8
_PPO_STEPS = 256
"""Of each environment in a rollout: 2,048 rows, which are PPO's default with one environment."""


def beside_sb3(algorithm: str, steps: int, learns: bool, seed: int, scale: float) -> Numbers:
    """
    Train both, turn and turn about: a machine's speed drifts within seconds.

    :param algorithm: ``"A2C"`` or ``"PPO"``
    :param steps: Steps of training at scale 1, in :data:`ROUNDS` turns
    :param learns: False for a learning rate of 0: both then take the same steps
    :param seed: Seed of both
    :param scale: Factor on the steps, and below 1 on the length of PPO's rollouts
    :return: Seconds of both, and the episodes that they had
    :raises RuntimeError: If they were to take the same steps and didn't
    """
    arguments: dict[str, Any] = {} if learns else {"learning_rate": 0.0}
    if algorithm == "PPO":
        arguments["n_steps"] = 8 * scaled(_PPO_STEPS // 8, min(scale, 1.0))  # so that minibatches of 64 fill the rollout
    shared: dict[str, Any] = {"seed": seed, "device": "cpu", **arguments}
    labels = {"joint": {"expert": PolicyExpert.load(expert_path(), seed=seed)}, "sb3": {}}
    models: dict[str, OnPolicyAlgorithm] = {}
    streams: dict[str, Any] = {}  # SB3 samples from the global generators: each learner finds them as it left them
    for name, package in (("joint", nlf_sb3), ("sb3", stable_baselines3)):
        models[name] = getattr(package, algorithm)("MlpPolicy", make_vec_env(ENV_ID, N_ENVS), **shared, **labels[name])
        streams[name] = th.get_rng_state(), np.random.get_state()
    turns: dict[str, list[Elapsed]] = {name: [] for name in models}
    steps_of_turn = scaled(steps // ROUNDS, scale)
    for turn in range(ROUNDS):
        for name in sorted(models, reverse=turn % 2 == 1):  # neither is always the second
            th.set_rng_state(streams[name][0])
            np.random.set_state(streams[name][1])
            work = partial(models[name].learn, steps_of_turn, reset_num_timesteps=turn == 0)
            turns[name].append(timed(work)[0])
            streams[name] = th.get_rng_state(), np.random.get_state()
    numbers: Numbers = {"steps": models["joint"].num_timesteps}
    for name, model in models.items():
        numbers |= Elapsed(*map(sum, zip(*map(astuple, turns[name]), strict=True))).named(name)
        assert model.env is not None
        numbers[f"{name}_episodes"] = sum(map(len, model.env.env_method("get_episode_lengths")))
        model.env.close()
    ours, theirs = (model.rollout_buffer.actions for model in models.values())
    if not learns and not np.array_equal(ours, theirs):
        raise RuntimeError(f"{algorithm} with a learning rate of 0 took other steps than Stable-Baselines3's: seed {seed}.")
    return numbers


def trials() -> list[Trial]:
    """The part ``joint``."""
    sizes = [("A2C", 8_000, True), ("A2C", 8_000, False), ("PPO", 16_384, True), ("PPO", 16_384, False)]
    return [_trial(*size) for size in sizes]


def _trial(algorithm: str, steps: int, learns: bool) -> Trial:
    name = f"{algorithm}, expert=, {N_ENVS} envs" + ("" if learns else ", learning rate 0")
    figure = ratio_of_times(name, "x SB3's time", "joint", "sb3", Reach("<=", 1.1))
    return Trial(name, partial(beside_sb3, algorithm, steps, learns), (figure,))
