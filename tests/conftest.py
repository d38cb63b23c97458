"""Small real environments that several test files share, registered under ids so that they can be made, and twinned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import watch
from hypothesis import settings
from recording import record

from nlf_sb3.numpy_actor import numpy_actor

th.set_num_threads(1)
settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

_ACTION_SPACES = {
    "box": lambda: spaces.Box(-1.0, 1.0, (1,), np.float32),
    "discrete": lambda: spaces.Discrete(2),
    "multi_discrete": lambda: spaces.MultiDiscrete([2, 2]),
    "multi_binary": lambda: spaces.MultiBinary(2),
}


class LineEnv(gym.Env):
    """
    Observes (noise, moved, steps); the noise comes from the environment's generator at every step.

    Moving 3 in sum ends an episode; ``Line-v0`` also ends it after 6 steps. The reward of step t is 10 t + the move.
    """

    def __init__(
        self,
        action: str = "discrete",
        *,
        dict_observation: bool = False,
        in_place: bool = False,
        shared_info: bool = False,
        hidden_randomness: bool = False,
        size: int = 3,
        render_mode: str | None = None,
    ) -> None:
        self.action_space = _ACTION_SPACES[action]()
        flat = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        parts = {
            "noise": spaces.Box(-np.inf, np.inf, (1,), np.float32),
            "count": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        }
        self.observation_space = spaces.Dict(parts) if dict_observation else flat
        self._in_place = in_place
        self._hidden_randomness = hidden_randomness
        self._info: dict[str, Any] | None = {} if shared_info else None
        self._state = np.zeros(size, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps, self._moved = 0, 0.0
        return self._observe(), self._fresh_info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        move = float(np.sum(action))
        self._steps += 1
        self._moved += move
        return self._observe(), 10.0 * self._steps + move, self._moved >= 3, False, self._fresh_info()

    def _fresh_info(self) -> dict[str, Any]:
        return {} if self._info is None else self._info

    def _observe(self) -> Any:
        noise = np.random.default_rng().normal() if self._hidden_randomness else self.np_random.normal()
        state = self._state if self._in_place else np.zeros_like(self._state)
        state[:3] = noise, self._moved, self._steps
        return {"noise": state[:1], "count": state[1:3]} if isinstance(self.observation_space, spaces.Dict) else state


def _line_env(**kwargs: Any) -> gym.Env:
    return LineEnv(**kwargs)


gym.register("Line-v0", entry_point=_line_env, max_episode_steps=6)
gym.register("LineNondeterministic-v0", entry_point=_line_env, max_episode_steps=6, nondeterministic=True)


@pytest.fixture
def logged():
    """Call it with a model before learn(); it returns a function that gives each logged key's values."""

    def attach(model):
        records = watch(model)

        def values(key: str) -> list[Any]:
            model.logger.dump()  # what the last train() recorded has not been dumped yet
            return [dump[key] for dump in records.dumps if key in dump]

        return values

    return attach


@pytest.fixture
def numpy_actors(monkeypatch):
    """What REINFORCE samples from, as far as it has made such actors."""
    made = []

    def keep(policy: Any) -> Any:
        made.append(numpy_actor(policy))
        return made[-1]

    monkeypatch.setattr("nlf_sb3.algorithms.plain_reinforce.numpy_actor", keep)
    return made


@pytest.fixture
def untouched_random_state():
    """Fails the test that leaves torch's or NumPy's global generator in another state than it found."""
    torch_before, numpy_before = th.get_rng_state(), np.random.get_state()
    yield
    assert th.equal(th.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])
    assert np.random.get_state()[2] == numpy_before[2]


def pytest_addoption(parser):
    parser.addoption("--record-set", metavar="NAME", help="leave the versions in results/versions/NAME.json if all pass")


def pytest_sessionfinish(session, exitstatus):
    name = session.config.getoption("--record-set")
    if name and not hasattr(session.config, "workerinput"):
        record(Path(session.config.rootpath) / "results" / "versions" / f"{name}.json", passed=exitstatus == 0)
