"""Training with one environment, beside a bare loop that takes the same steps in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from nlf_sb3.algorithms import REINFORCE
from nlf_sb3.experiments.bench.records import Numbers, Reach, Trial, ratio_of_times, scaled
from nlf_sb3.experiments.bench.timing import timed
from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.teachers import ExpertTeacher, PolicyExpert
from nlf_sb3.wrappers import FeedbackWrapper

MakeModel = Callable[[gym.Env, int], BaseAlgorithm]
"""Maps an environment and a seed to an untrained model."""


class RecordedSteps(gym.Wrapper):
    """
    Notes what a learner does to the environment.

    :param env: The environment
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.actions: list[np.ndarray] = []
        self.seeds: list[int | None] = []
        """Of each reset."""
        self.ends: list[int] = []
        """Steps taken before each reset but the first."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self.seeds:
            self.ends.append(len(self.actions))
        self.seeds.append(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.actions.append(np.array(action))
        return self.env.step(action)


def replay(env: gym.Env, actions: list[np.ndarray], seeds: list[int | None]) -> list[int]:
    """
    The bare loop: take these steps, and reset where episodes end.

    :param env: An environment
    :param actions: One of each step
    :param seeds: One of each reset
    :return: How many steps had been taken at each episode's end
    """
    remaining = iter(seeds)
    ends = []
    env.reset(seed=next(remaining))
    for step, action in enumerate(actions, start=1):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            ends.append(step)
            env.reset(seed=next(remaining, None))
    return ends


def beside_bare_loop(make_model: MakeModel, steps: int, seed: int, scale: float) -> Numbers:
    """
    :param make_model: Makes the learner
    :param steps: Steps of training at scale 1
    :param seed: The learner's seed
    :param scale: Factor on the steps
    :return: Seconds of training, on the clock and of the processor, and of the bare loop
    :raises RuntimeError: If they didn't take the same steps
    """
    steps = scaled(steps, scale)
    # A run of its own: the same seed takes the same steps, and recording would cost the timed one time. It warms up too.
    recorded = RecordedSteps(gym.make(ENV_ID))
    make_model(recorded, seed).learn(steps)
    trained, bare = gym.make(ENV_ID), gym.make(ENV_ID)
    model = make_model(trained, seed)
    training, _ = timed(lambda: model.learn(steps))
    bare_loop, ends = timed(lambda: replay(bare, recorded.actions, recorded.seeds))
    if model.num_timesteps != len(recorded.actions) or ends != recorded.ends:
        raise RuntimeError(
            f"training took {model.num_timesteps} steps, its twin with the same seed {len(recorded.actions)} in "
            f"{len(recorded.ends)} episodes, and the bare loop ended {len(ends)}: they are not the same steps."
        )
    for env in (recorded, trained, bare):
        env.close()
    return {
        "steps": len(recorded.actions),
        "episodes": len(ends),
        **training.named("training"),
        **bare_loop.named("bare"),
    }


def trials() -> list[Trial]:
    """The part ``reinforce``."""
    return [
        _trial("REINFORCE, expert=", _with_expert, 30_000, Reach(">=", 0.5)),
        _trial("REINFORCE, ExpertTeacher", _with_teacher, 30_000, Reach(">=", 0.35)),
        _trial("REINFORCE, expert=, sample_with_numpy=False", partial(_with_expert, sample_with_numpy=False), 4_000),
        _trial("SB3's A2C", _plain_a2c, 2_000),
    ]


def _trial(name: str, make_model: MakeModel, steps: int, reach: Reach | None = None) -> Trial:
    # Of equally many steps.
    figure = ratio_of_times(name, "x bare loop's speed", "bare", "training", reach)
    return Trial(name, partial(beside_bare_loop, make_model, steps), (figure,), warm_up=False)


def _with_expert(env: gym.Env, seed: int, *, sample_with_numpy: bool = True) -> REINFORCE:
    expert = PolicyExpert.load(expert_path(), seed=seed)
    return _reinforce(env, seed, expert=expert, sample_with_numpy=sample_with_numpy)


def _with_teacher(env: gym.Env, seed: int) -> REINFORCE:
    return _reinforce(FeedbackWrapper(env, ExpertTeacher(PolicyExpert.load(expert_path(), seed=seed))), seed)


def _reinforce(env: gym.Env, seed: int, **arguments: Any) -> REINFORCE:
    return REINFORCE("MlpPolicy", env, n_episodes=16, seed=seed, device="cpu", **arguments)


def _plain_a2c(env: gym.Env, seed: int) -> stable_baselines3.A2C:
    return stable_baselines3.A2C("MlpPolicy", env, seed=seed, device="cpu")
