"""
Does PPO keep what a clone can do? Behaviour cloning, then PPO, with and without the critic's warm-up.

    python benchmarks/warm_start.py --seeds 10 --out warm_start.json

Each run, for one environment, one seed and one arm (about 30 seconds of one core):

  1. Demonstrations: 5,000 steps of an expert, its actions sampled. CartPole-v1: a linear rule that balances. The
     pendulum: the expert that this package ships.
  2. PPO with SB3's default arguments, started by nlf_sb3.interop.imitation.warm_start with its defaults (arm "critic"),
     or with critic_steps=0 (arm "plain").
  3. The clone's return: the mean of 20 episodes with sampled actions, as PPO acts, before any step of learn.
     The same with the most likely actions stands beside it.
  4. learn(20,000). At the end of each episode from step 5,000 on, the rolling return is the mean return of the training
     episodes that ended in the last 5,000 steps.

A run holds if its lowest rolling return is at least 80% of the clone's return (sampled). The bar is 9 of 10 seeds.
The arm "critic" takes 20,480 environment steps more than "plain" does, before learn.

A second call with the same --out goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from nlf_sb3 import Demonstrations
from nlf_sb3.experiments.protocols import expert_path
from nlf_sb3.interop.critic import CRITIC_STEPS
from nlf_sb3.interop.imitation import warm_start
from nlf_sb3.teachers import CallableExpert, Expert, PolicyExpert

ARMS = ("critic", "plain")
WINDOW, STEPS, EPISODES, BAR = 5_000, 20_000, 20, 0.8


def balance(observations: np.ndarray) -> np.ndarray:
    """A linear rule that balances CartPole for 500 steps."""
    position, speed, angle, turn = observations.T
    return (angle + 0.4 * turn + 0.05 * position + 0.1 * speed > 0).astype(np.int64)


def make_expert(env_id: str, seed: int) -> Expert:
    return CallableExpert(balance) if env_id == "CartPole-v1" else PolicyExpert.load(expert_path(), seed=seed)


def record(env_id: str, n_steps: int, seed: int) -> tuple[Demonstrations, float]:
    """Rows of an expert's episodes, and the mean return of those that ended."""
    env, expert = gym.make(env_id), make_expert(env_id, seed)
    observations, actions, returns, total = [], [], [], 0.0
    observation, _ = env.reset(seed=10_000 + seed)
    for _ in range(n_steps):
        observations.append(observation)
        actions.append(expert.act(observation[None])[0])
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        total += float(reward)
        if terminated or truncated:
            returns.append(total)
            total = 0.0
            observation, _ = env.reset()
    return Demonstrations(np.array(observations), np.array(actions)), float(np.mean(returns))


class Episodes(BaseCallback):
    """Notes the step at which each training episode ended, and its return."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.ends.append((self.num_timesteps, float(info["episode"]["r"])))
        return self.num_timesteps < STEPS


def rolling_returns(ends: list[tuple[int, float]]) -> list[float]:
    """Mean return of the episodes that ended in the last WINDOW steps, at each episode's end from step WINDOW on."""
    steps, returns = np.array([step for step, _ in ends]), np.array([value for _, value in ends])
    return [float(returns[(steps > now - WINDOW) & (steps <= now)].mean()) for now in steps if WINDOW <= now <= STEPS]


def run(env_id: str, arm: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    th.set_num_threads(1)
    demonstrations, expert_return = record(env_id, settings["demonstration_steps"], seed)
    model = PPO("MlpPolicy", env_id, seed=seed, device="cpu")
    critic_steps = settings["critic_steps"] if arm == "critic" else 0
    warm_start(model, demonstrations, min_std=settings["min_std"], critic_steps=critic_steps, seed=seed)
    evaluation = Monitor(gym.make(env_id))
    clone = {}
    with th.random.fork_rng(devices=[]):
        th.manual_seed(seed)
        for name, deterministic in (("sampled", False), ("deterministic", True)):
            evaluation.reset(seed=20_000 + seed)
            clone[name] = float(evaluate_policy(model, evaluation, EPISODES, deterministic=deterministic)[0])
    episodes = Episodes()
    model.learn(STEPS, callback=episodes)
    rolling = rolling_returns(episodes.ends)
    return {
        "env": env_id,
        "arm": arm,
        "seed": seed,
        "expert_return": expert_return,
        "clone_return": clone["sampled"],
        "clone_return_deterministic": clone["deterministic"],
        "episode_ends": episodes.ends,
        "lowest_rolling_return": min(rolling),
        "last_rolling_return": rolling[-1],
        "ratio": min(rolling) / clone["sampled"],
        "holds": min(rolling) >= BAR * clone["sampled"],
    }


def show(console: Console, runs: list[dict[str, Any]]) -> None:
    table = Table(title="PPO after behaviour cloning: lowest rolling return of 20,000 steps")
    for column in ("environment", "arm", "clone", "its mode", "worst", "median", "hold"):
        table.add_column(column, justify="left" if column in ("environment", "arm") else "right")
    for env_id, arm in sorted({(one["env"], one["arm"]) for one in runs}):
        group = [one for one in runs if (one["env"], one["arm"]) == (env_id, arm)]
        ratios = [one["ratio"] for one in group]
        table.add_row(
            env_id,
            arm,
            f"{np.mean([one['clone_return'] for one in group]):.0f}",
            f"{np.mean([one['clone_return_deterministic'] for one in group]):.0f}",
            f"{min(ratios):.2f}",
            f"{np.median(ratios):.2f}",
            f"{sum(one['holds'] for one in group)} of {len(group)}",
        )
    console.print(table)
    console.print(
        "clone, its mode: mean return before learn, with sampled and with the most likely actions. worst, median: lowest "
        f"rolling return as a part of the clone's (sampled), over seeds. hold: seeds where it is at least {BAR:.0%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds (10)")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1", "InvertedPendulum-v5"], help="which of the two (both)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--out", type=Path, default=Path("warm_start.json"), help="results, read first if it is there")
    parser.add_argument("--min-std", type=float, default=0.2, help="lower bound of the pendulum policy's spread (0.2)")
    parser.add_argument("--critic-steps", type=int, default=CRITIC_STEPS, help=f"steps of the warm-up ({CRITIC_STEPS})")
    parser.add_argument("--demonstration-steps", type=int, default=5_000, help="recorded steps (5,000)")
    options = parser.parse_args()

    settings = {name: getattr(options, name) for name in ("min_std", "critic_steps", "demonstration_steps")}
    results: dict[str, Any] = {"settings": settings, "runs": []}
    if options.out.exists():
        results = json.loads(options.out.read_text())
        if results["settings"] != settings:
            parser.error(f"{options.out} holds runs with {results['settings']}, not {settings}. Choose another --out.")
    names = ("stable_baselines3", "gymnasium", "imitation", "torch", "numpy", "mujoco")
    results["versions"] = {name: version(name) for name in names}

    done = {(one["env"], one["arm"], one["seed"]) for one in results["runs"]}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    wanted = [(env, arm, seed) for seed in seeds for env in options.envs for arm in ARMS]
    missing = [key for key in wanted if key not in done]
    console = Console()
    with Progress(console=console) as progress:
        bar = progress.add_task("runs", total=len(wanted), completed=len(wanted) - len(missing))
        workers = Parallel(n_jobs=options.jobs, return_as="generator_unordered")
        for one in workers(delayed(run)(*key, settings) for key in missing):
            results["runs"].append(one)
            results["runs"].sort(key=lambda item: (item["env"], item["arm"], item["seed"]))
            partial = options.out.with_suffix(".partial")
            partial.write_text(json.dumps(results, indent=1))
            partial.replace(options.out)
            progress.advance(bar)
    show(console, [one for one in results["runs"] if (one["env"], one["arm"], one["seed"]) in set(wanted)])


if __name__ == "__main__":
    main()
