"""Train the actors that become experts: Stable-Baselines3's PPO, with every policy that it passes through kept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium.spaces import utils
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.save_util import save_to_zip_file
from stable_baselines3.common.vec_env import VecNormalize

RECIPE_SEED = 0
N_ENVS = 4


@dataclass(frozen=True)
class Recipe:
    """
    How an environment's experts are trained: by Stable-Baselines3's PPO, observations and rewards normalised.

    :param timesteps: Steps
    :param learning_rate: At the start; it falls to 0 in a straight line
    :param net_arch: Widths of the actor's layers, and of the critic's
    :param n_steps: Steps of each of :data:`N_ENVS` environments in a rollout
    :param rollouts_per_checkpoint: How often the policy is kept
    :param arguments: PPO's own
    """

    timesteps: int
    learning_rate: float
    net_arch: tuple[int, ...]
    n_steps: int
    rollouts_per_checkpoint: int = 1
    arguments: dict[str, Any] = field(default_factory=dict)


def train(env_id: str, recipe: Recipe, report: Callable[[int], None]) -> list[ActorCriticPolicy]:
    """
    :param env_id: The environment
    :param recipe: How
    :param report: Called with the steps so far
    :return: What the policy was on the way, in order
    """
    th.set_num_threads(1)
    env = VecNormalize(make_vec_env(env_id, n_envs=N_ENVS, seed=RECIPE_SEED), gamma=recipe.arguments.get("gamma", 0.99))
    layers = list(recipe.net_arch)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=lambda remaining: recipe.learning_rate * remaining,
        n_steps=recipe.n_steps,
        policy_kwargs={"net_arch": {"pi": layers, "vf": layers}},
        seed=RECIPE_SEED,
        device="cpu",
        **recipe.arguments,
    )
    kept = _KeepsActors(recipe.rollouts_per_checkpoint, layers, report)
    model.learn(recipe.timesteps, callback=kept)
    return kept.actors


class _KeepsActors(BaseCallback):
    """Keeps a copy of the actor after every so many updates, and after the last."""

    def __init__(self, rollouts: int, layers: list[int], report: Callable[[int], None]) -> None:
        super().__init__()
        self.actors: list[ActorCriticPolicy] = []
        self._rollouts = rollouts
        self._layers = layers
        self._report = report
        self._n = 0

    def _on_rollout_start(self) -> None:
        self._report(self.num_timesteps)
        if self._n % self._rollouts == 0:
            self.actors.append(actor_of(self.model.policy, self._layers, self.model.get_vec_normalize_env()))
        self._n += 1

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._report(self.num_timesteps)
        self.actors.append(actor_of(self.model.policy, self._layers, self.model.get_vec_normalize_env()))


def actor_of(policy: Any, layers: list[int], vec_normalize: VecNormalize | None) -> ActorCriticPolicy:
    """
    A policy that acts on raw observations as another does on normalised ones, and has next to no critic.

    Statistics go into the first layer: W (s - mean) / std + b is W' s + b' with other numbers. VecNormalize's clip at ten
    standard deviations is left out.

    :param policy: The policy
    :param layers: Widths of its actor's layers
    :param vec_normalize: What normalises its observations, if anything does
    :return: The other policy
    """
    spaces = policy.observation_space, policy.action_space
    with th.random.fork_rng(devices=[]):
        actor = ActorCriticPolicy(*spaces, lambda _: 0.0, net_arch={"pi": layers, "vf": []})
    its_own = policy.state_dict()
    state = {name: its_own[name].clone() for name in actor.state_dict() if not name.startswith("value_net")}
    state["value_net.weight"] = th.zeros(1, utils.flatdim(policy.observation_space))
    state["value_net.bias"] = th.zeros(1)
    if vec_normalize is not None and vec_normalize.norm_obs:
        statistics: Any = vec_normalize.obs_rms
        weight, bias = "mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.0.bias"
        scaled = state[weight].double() / th.as_tensor(np.sqrt(statistics.var + vec_normalize.epsilon))
        state[bias] = (state[bias].double() - scaled @ th.as_tensor(statistics.mean)).float()
        state[weight] = scaled.float()
    actor.load_state_dict(state)
    return actor


def blend_actors(first: ActorCriticPolicy, second: ActorCriticPolicy) -> ActorCriticPolicy:
    """
    :param first: What :func:`actor_of` made
    :param second: Another one of the same shape
    :return: The one with the mean of their weights
    """
    blended = copy.deepcopy(first)
    other = second.state_dict()
    blended.load_state_dict({name: (value + other[name]) / 2 for name, value in first.state_dict().items()})
    return blended


def save_actor(actor: ActorCriticPolicy, env_id: str, path: Path) -> None:
    """
    Write what :meth:`~nlf_sb3.teachers.PolicyExpert.load` reads, and no more.

    :param actor: What :func:`actor_of` made
    :param env_id: Gives fresh spaces, whose generators drew nothing
    :param path: The file
    """
    env = gym.make(env_id)
    data = {
        "policy_class": ActorCriticPolicy,
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "policy_kwargs": {"net_arch": actor.net_arch},
    }
    save_to_zip_file(path, data=data, params={"policy": actor.state_dict()})
