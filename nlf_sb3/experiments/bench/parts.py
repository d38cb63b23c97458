"""What an expert's answer, a wrapper's step and an import cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
from gymnasium import spaces

from nlf_sb3.experiments.bench.processes import check_same_copy, run_python
from nlf_sb3.experiments.bench.records import Figure, Numbers, Reach, Trial, scaled
from nlf_sb3.experiments.bench.timing import microseconds_per_call
from nlf_sb3.experiments.protocols import ENV_ID
from nlf_sb3.feedback import Feedback
from nlf_sb3.teachers import PolicyExpert
from nlf_sb3.teachers.teachers import Transition
from nlf_sb3.wrappers import FeedbackWrapper

BATCH = 1024
_BLOCKS = 20


def expert_trials() -> list[Trial]:
    """The part ``expert``."""
    return [
        Trial(
            "expert queries",
            expert_queries,
            (
                Figure("model.predict, 1 row", "us/row", itemgetter("predict")),
                Figure("PolicyExpert.act, 1 row", "us/row", itemgetter("act")),
                Figure(f"PolicyExpert.act, {BATCH:,} rows", "us/row", itemgetter("act_batch"), Reach("<=", 10)),
            ),
        )
    ]


def expert_queries(seed: int, scale: float) -> Numbers:
    """
    :param seed: Seed of the expert's weights and of the observations
    :param scale: Factor on the number of queries
    :return: Microseconds of a row, for each way to ask
    """
    model = stable_baselines3.PPO("MlpPolicy", ENV_ID, seed=seed, device="cpu")
    expert = PolicyExpert(model, seed=seed)
    observations = np.random.default_rng(seed).standard_normal((BATCH, *(model.observation_space.shape or ())))
    one = observations[:1]
    return {
        "predict": microseconds_per_call(lambda: model.predict(one), scaled(1_000, scale)),
        "act": microseconds_per_call(lambda: expert.act(one), scaled(5_000, scale)),
        "act_batch": microseconds_per_call(lambda: expert.act(observations), scaled(200, scale)) / BATCH,
    }


class CheapEnv(gym.Env):
    """An environment whose steps cost next to nothing: four zeros, in a fresh array."""

    observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(4, np.float32), 0.0, False, False, {}


def wrapper_trials() -> list[Trial]:
    """The part ``wrapper``."""
    figure = Figure("FeedbackWrapper, env and teacher excluded", "us/step", _own_cost, Reach("<=", 5))
    return [Trial("FeedbackWrapper", wrapper_step, (figure,))]


def wrapper_step(seed: int, scale: float) -> Numbers:
    """
    :param seed: Seed of the environments
    :param scale: Factor on the number of steps
    :return: Microseconds of a step with the wrapper, of one without, and of a call of the teacher
    """
    feedback = Feedback(score=1.0)

    def teacher(transition: Transition) -> Feedback:
        return feedback

    env = CheapEnv()
    wrapped = FeedbackWrapper(CheapEnv(), teacher)
    observation, info = env.reset(seed=seed)
    wrapped.reset(seed=seed)
    action = np.zeros(1, np.float32)
    transition = Transition(observation, action, 0.0, observation, False, False, info, 0)
    calls: dict[str, Callable[[], Any]] = {
        "wrapped": partial(wrapped.step, action),
        "env": partial(env.step, action),
        "teacher": partial(teacher, transition),
    }
    # In many short blocks, turn and turn about: the difference is small beside what a machine drifts.
    steps = scaled(1_000, scale)
    blocks = [{name: microseconds_per_call(call, steps) for name, call in calls.items()} for _ in range(_BLOCKS)]
    return {name: float(np.mean([block[name] for block in blocks])) for name in calls}


def _own_cost(numbers: Numbers) -> float:
    return numbers["wrapped"] - numbers["env"] - numbers["teacher"]


def import_trials() -> list[Trial]:
    """The part ``import``. No warm-up: this process has just read and compiled the same files."""
    return [
        Trial(
            "imports",
            import_seconds,
            (
                Figure("import nlf_sb3", "x import SB3's time", _import_ratio, Reach("<=", 1.1)),
                Figure("whole process", "x import SB3's time", _process_ratio),
                Figure("import nlf_sb3", "s", itemgetter("nlf_sb3_import_seconds")),
            ),
            warm_up=False,
        )
    ]


def import_seconds(seed: int, scale: float) -> Numbers:
    """
    :param seed: Not used: nothing is drawn
    :param scale: Not used: it can't be shorter
    :return: Seconds of both imports, in new processes, and of the processes
    """
    numbers: Numbers = {}
    for package in ("nlf_sb3", "stable_baselines3"):
        code = (
            f"import time; start = time.perf_counter(); import {package}; "
            f"print(time.perf_counter() - start); print({package}.__file__)"
        )
        start = time.perf_counter()
        seconds, file = run_python(code).splitlines()
        numbers[f"{package}_process_seconds"] = time.perf_counter() - start
        numbers[f"{package}_import_seconds"] = float(seconds)
        if package == "nlf_sb3":
            check_same_copy(file)
    return numbers


def _import_ratio(numbers: Numbers) -> float:
    return numbers["nlf_sb3_import_seconds"] / numbers["stable_baselines3_import_seconds"]


def _process_ratio(numbers: Numbers) -> float:
    return numbers["nlf_sb3_process_seconds"] / numbers["stable_baselines3_process_seconds"]
