"""What an expert's answer, a wrapper's step and an import cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
from gymnasium import spaces

from nlf_sb3.experiments.bench.processes import check_same_copy, run_python
from nlf_sb3.experiments.bench.records import Figure, Numbers, Reach, Trial, ratio_of_times, scaled
from nlf_sb3.experiments.bench.timing import Elapsed, microseconds_per_call
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
                Figure("PolicyExpert(model).act, 1 row", "us/row", itemgetter("act")),
                Figure("loaded PolicyExpert.act, 1 row", "us/row", itemgetter("loaded")),
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
    with TemporaryDirectory() as folder:
        model.save(Path(folder) / "expert.zip")
        loaded = PolicyExpert.load(Path(folder) / "expert.zip", seed=seed)
    observations = np.random.default_rng(seed).standard_normal((BATCH, *(model.observation_space.shape or ())))
    one = observations[:1]
    return {
        "predict": microseconds_per_call(lambda: model.predict(one), scaled(1_000, scale)),
        "act": microseconds_per_call(lambda: expert.act(one), scaled(5_000, scale)),
        "loaded": microseconds_per_call(lambda: loaded.act(one), scaled(5_000, scale)),
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
    figure = Figure("FeedbackWrapper, env and teacher excluded", "us/step", itemgetter("own"), Reach("<=", 5))
    return [Trial("FeedbackWrapper", wrapper_step, (figure,))]


def wrapper_step(seed: int, scale: float) -> Numbers:
    """
    :param seed: Seed of the environments
    :param scale: Factor on the number of steps
    :return: Microseconds of a step with the wrapper, of one without, of a call of the teacher, and of the wrapper alone
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
    own = [block["wrapped"] - block["env"] - block["teacher"] for block in blocks]
    return {"own": float(np.median(own)), **{name: float(np.median([block[name] for block in blocks])) for name in calls}}


def import_trials() -> list[Trial]:
    """The part ``import``. No warm-up: this process has just read and compiled the same files."""
    return [
        Trial(
            "imports",
            import_seconds,
            (
                ratio_of_times("import nlf_sb3", "x import SB3's time", "nlf_sb3", "sb3", Reach("<=", 1.1)),
                Figure("import nlf_sb3", "s", itemgetter("nlf_sb3_seconds"), of_cpu=itemgetter("nlf_sb3_cpu_seconds")),
            ),
            warm_up=False,
        )
    ]


def import_seconds(seed: int, scale: float) -> Numbers:
    """
    :param seed: Not used: nothing is drawn
    :param scale: Not used: it can't be shorter
    :return: Seconds of Stable-Baselines3's import in a new process, and of nlf_sb3's, which contains it
    """
    code = (
        "import time; both = lambda: (time.perf_counter(), time.process_time()); start = both(); import stable_baselines3; "
        "middle = both(); import nlf_sb3; print(*start, *middle, *both()); print(nlf_sb3.__file__)"
    )
    clocks, file = run_python(code).splitlines()
    check_same_copy(file)
    start, middle, end = np.array(clocks.split(), dtype=float).reshape(3, 2).tolist()
    sb3, whole = (Elapsed(until[0] - start[0], until[1] - start[1]) for until in (middle, end))
    return {**sb3.named("sb3"), **whole.named("nlf_sb3")}
