"""A2C and PPO with an expert's labels, beside Stable-Baselines3's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import stable_baselines3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

import nlf_sb3
from nlf_sb3.experiments.bench.records import Numbers, Reach, Trial, ratio_of_times, scaled
from nlf_sb3.experiments.bench.timing import timed
from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.teachers import PolicyExpert

N_ENVS = 8


def beside_sb3(algorithm: str, steps: int, learns: bool, seed: int, scale: float) -> Numbers:
    """
    :param algorithm: ``"A2C"`` or ``"PPO"``
    :param steps: Steps of training at scale 1
    :param learns: False for a learning rate of 0: both then take the same steps
    :param seed: Seed of both
    :param scale: Factor on the steps, and below 1 on the length of PPO's rollouts, whose default is 2,048 steps
    :return: Seconds of both, and the episodes that they had
    :raises RuntimeError: If they were to take the same steps and didn't
    """
    arguments: dict[str, Any] = {} if learns else {"learning_rate": 0.0}
    if algorithm == "PPO" and scale < 1:
        arguments["n_steps"] = 8 * scaled(256, scale)  # so that minibatches of 64 fill the rollout
    steps = scaled(steps, scale)
    numbers: Numbers = {}
    actions: list[np.ndarray] = []
    for name, package in (("joint", nlf_sb3), ("sb3", stable_baselines3)):
        if package is nlf_sb3:
            arguments["expert"] = PolicyExpert.load(expert_path(), seed=seed)
        else:
            del arguments["expert"]
        env = make_vec_env(ENV_ID, N_ENVS)
        model: OnPolicyAlgorithm = getattr(package, algorithm)("MlpPolicy", env, seed=seed, device="cpu", **arguments)
        elapsed, _ = timed(partial(model.learn, steps))
        numbers |= elapsed.named(name)
        numbers[f"{name}_episodes"] = sum(map(len, env.env_method("get_episode_lengths")))
        numbers["steps"] = model.num_timesteps
        actions.append(model.rollout_buffer.actions)
        env.close()
    if not learns and not np.array_equal(actions[0], actions[1]):
        raise RuntimeError(f"{algorithm} with a learning rate of 0 took other steps than Stable-Baselines3's: seed {seed}.")
    return numbers


def trials() -> list[Trial]:
    """The part ``joint``."""
    # One rollout of PPO without learning is as good as two.
    sizes = [("A2C", 8_000, True), ("A2C", 8_000, False), ("PPO", 32_768, True), ("PPO", 16_384, False)]
    return [_trial(*size) for size in sizes]


def _trial(algorithm: str, steps: int, learns: bool) -> Trial:
    name = f"{algorithm}, expert=, {N_ENVS} envs" + ("" if learns else ", learning rate 0")
    figure = ratio_of_times(name, "x SB3's time", "joint", "sb3", Reach("<=", 1.1))
    return Trial(name, partial(beside_sb3, algorithm, steps, learns), (figure,))
