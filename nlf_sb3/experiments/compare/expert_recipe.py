"""The recipe of the experts of graded quality: train, keep what training passed through, measure, choose, write."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from rich.progress import Progress
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.experiments.compare.expert_policy import ExpertPolicy
from nlf_sb3.experiments.compare.expert_training import Recipe, blend_actors, save_actor, train
from nlf_sb3.experiments.compare.experts import QUALITIES, RETURNS_FILE, NegatedExpert, RandomExpert
from nlf_sb3.teachers import Expert, LQRExpert, PolicyExpert

EPISODES = 100
"""Of a measurement that decides, and of the one that is written."""
N_ENVS = 10
"""Environments that a measurement's episodes are divided among."""
_ROUGH_EPISODES = 20
_FINALISTS = 8
_TOLERANCE = 0.03
"""How far from its share an actor that training passed through may be, in parts of the best return."""
_BISECTIONS = 15

RECIPES = {
    "CartPole-v1": Recipe(100_000, 2e-4, (32, 32), 64),
    "InvertedPendulum-v5": Recipe(60_000, 5e-4, (32, 32), 128, 2),
    "InvertedDoublePendulum-v5": Recipe(300_000, 5e-4, (64, 64), 256, 2),
    "Hopper-v5": Recipe(700_000, 3e-4, (64, 64), 512, 3),
}


def make_experts(env_id: str, out: Path, progress: Progress) -> None:
    """
    Train, measure, choose and write an environment's experts.

    :param env_id: One of :data:`RECIPES`
    :param out: Folder for the weights and for :data:`~nlf_sb3.experiments.compare.experts.RETURNS_FILE`
    :param progress: Shows how far it is
    """
    recipe = RECIPES[env_id]
    steps = progress.add_task(f"{env_id}: steps", total=recipe.timesteps)
    measured = progress.add_task(f"{env_id}: measurements", total=None)

    def mean_return(actor: ActorCriticPolicy, episodes: int) -> float:
        progress.advance(measured)
        # Seeds of their own: what is chosen for its luck here is measured again.
        return float(measure(PolicyExpert(actor, deterministic=True), env_id, episodes, seed=0).mean())

    actors = train(env_id, recipe, lambda n: progress.update(steps, completed=n))
    progress.update(measured, total=len(actors) + len(QUALITIES) * _FINALISTS)  # at most
    chosen = choose(actors, mean_return)
    out.mkdir(parents=True, exist_ok=True)
    for name, actor in chosen.items():
        save_actor(actor, env_id, out / f"{name}.zip")
    experts: dict[str, Expert] = {name: PolicyExpert(actor, deterministic=True) for name, actor in chosen.items()}
    returns = {name: measure(expert, env_id) for name, expert in {**experts, **_others(env_id, chosen["100"])}.items()}
    summary = {name: {"mean": float(values.mean()), "std": float(values.std(ddof=1))} for name, values in returns.items()}
    (out / RETURNS_FILE).write_text(json.dumps({"episodes": EPISODES, "returns": summary}, indent=2) + "\n")


def choose(
    actors: list[Any], mean_return: Callable[[Any, int], float], blend: Callable[[Any, Any], Any] = blend_actors
) -> dict[str, Any]:
    """
    The best actor, and those whose mean return is a share of the best one's.

    Training may jump over a share from one actor to the next. A mean return is continuous in the weights, so that halving
    the way between such two, again and again, finds the share.

    :param actors: All of them, in the order of training
    :param mean_return: Measures one over a number of episodes
    :param blend: Makes the actor halfway between two
    :return: The chosen, by name
    """
    rough = [mean_return(actor, _ROUGH_EPISODES) for actor in actors]
    precise: dict[int, float] = {}

    def nearest_to(target: float) -> int:
        finalists = sorted(range(len(actors)), key=lambda index: abs(rough[index] - target))[:_FINALISTS]
        precise.update({index: mean_return(actors[index], EPISODES) for index in finalists if index not in precise})
        return min(finalists, key=lambda index: abs(precise[index] - target))

    nearest_to(max(rough))
    best = max(precise, key=lambda index: precise[index])
    chosen = {"100": actors[best]}
    for name in QUALITIES[1:]:
        target, tolerance = int(name) / 100 * precise[best], _TOLERANCE * precise[best]
        nearest = nearest_to(target)
        chosen[name] = actors[nearest]
        pairs = list(itertools.pairwise(rough))
        around = [index for index, pair in enumerate(pairs) if min(pair) < target < max(pair)]
        if abs(precise[nearest] - target) > tolerance and around:
            first = min(around, key=lambda index: abs(rough[index + 1] - rough[index]))
            worse, better = sorted((first, first + 1), key=lambda index: rough[index])
            chosen[name] = _between(
                actors[worse], actors[better], target, tolerance, lambda actor: mean_return(actor, EPISODES), blend
            )
    return chosen


def _between(
    worse: Any, better: Any, target: float, tolerance: float, mean_return: Callable[[Any], float], blend: Callable[..., Any]
) -> Any:
    """The actor on the line between two whose return is the target's, by bisection."""
    for _ in range(_BISECTIONS):
        actor = blend(worse, better)
        value = mean_return(actor)
        if abs(value - target) <= tolerance:
            break
        worse, better = (actor, better) if value < target else (worse, actor)
    return actor


def measure(expert: Expert, env_id: str, episodes: int = EPISODES, seed: int = 10_000) -> np.ndarray:
    """
    :param expert: The expert
    :param env_id: Where it acts
    :param episodes: How many, a multiple of :data:`N_ENVS`
    :param seed: Of the first of the environments that episodes are divided among
    :return: Returns, ``[episodes]``
    """
    env = make_vec_env(env_id, n_envs=N_ENVS, seed=seed)
    policy = ExpertPolicy(expert, env.observation_space, env.action_space)
    returns, _ = evaluate_policy(policy, env, episodes, return_episode_rewards=True)
    env.close()
    return np.asarray(returns)


def _others(env_id: str, actor: ActorCriticPolicy) -> dict[str, Expert]:
    """The experts of an environment that have no file."""
    env = gym.make(env_id)
    best = PolicyExpert(actor, deterministic=True)
    others: dict[str, Expert] = {"negated": NegatedExpert(best, env.action_space), "random": RandomExpert(env.action_space)}
    with contextlib.suppress(FeedbackError):  # where there is no regulator
        others["lqr"] = LQRExpert.from_env(env)
    return others


@dataclass
class MakeExperts:
    """
    Train an environment's experts of graded quality by the recipe behind the ones that this package ships.

    The recipe has a fixed seed: the same machine gives the same weights.
    """

    env: Literal["CartPole-v1", "InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Hopper-v5"]
    """Where they are to act."""
    out: Path
    """Folder for the weights and their returns."""


def main() -> None:
    """Entry point of ``python -m nlf_sb3.experiments.compare.expert_recipe``."""
    tyro: Any = require("tyro", "experiments", "The command line")
    command = tyro.cli(MakeExperts)
    with Progress() as progress:
        make_experts(command.env, command.out, progress)


if __name__ == "__main__":
    main()
