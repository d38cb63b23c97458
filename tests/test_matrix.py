"""Every algorithm on every kind of action, observation and vectorised environment, through every channel."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import assert_same_model, watch
from learners import ALGORITHMS, N_STEPS, is_finite, learner, parameters_of
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

from nlf_sb3 import Demonstrations, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.segments import stack_observations
from nlf_sb3.teachers import Expert, ExpertTeacher

ACTIONS = {
    "box": spaces.Box(-0.5, 0.5, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(2),
}
_VECTOR = spaces.Box(-3.0, 3.0, (3,), np.float32)
_IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
OBSERVATIONS = {
    "box": _VECTOR,
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([3, 4]),
    "multibinary": spaces.MultiBinary(3),
    "image": _IMAGE,
    "dict": spaces.Dict({"vector": _VECTOR, "kind": spaces.Discrete(3)}),
    "dict image": spaces.Dict({"vector": spaces.Box(-3.0, 3.0, (2, 2), np.float64), "picture": _IMAGE}),
}
VEC_ENVS = ("one", "three", "normalized", "stacked")
CHANNELS = ("wrapper", "expert", "demonstrations", "fork", "takeover")


class Cell(NamedTuple):
    algorithm: str
    action: str
    channel: str
    observation: str
    vec_env: str


class AnySpaces(gym.Env):
    """Random observations and rewards, from the reset seed; never allows the choice 2."""

    def __init__(self, action: str, observation: str, bound: float = 0.5):
        self.action_space = spaces.Box(-bound, bound, (2,), np.float32) if action == "box" else ACTIONS[action]
        self.observation_space = OBSERVATIONS[observation]

    def action_masks(self) -> np.ndarray:
        return {"discrete": np.array([1, 1, 0]), "multidiscrete": np.array([1, 1, 0, 1, 1])}.get(
            self._kind(), np.ones(4)
        ).astype(bool)

    def _kind(self) -> str:
        return next((name for name, space in ACTIONS.items() if space == self.action_space), "box")

    def _draw(self, space: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: self._draw(part) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Discrete):
            return int(self.np_random.integers(space.n))
        if isinstance(space, spaces.MultiDiscrete):
            return self.np_random.integers(space.nvec).astype(space.dtype)
        if isinstance(space, spaces.MultiBinary):
            return self.np_random.integers(2, size=space.shape).astype(space.dtype)
        if space.dtype == np.uint8:
            return self.np_random.integers(256, size=space.shape).astype(np.uint8)
        return self.np_random.uniform(-3, 3, space.shape).astype(space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.steps, self.length = 0, int(self.np_random.integers(3, 8))
        self.terminates = bool(self.np_random.integers(2))
        return self._draw(self.observation_space), {}

    def step(self, action: Any):
        assert self.action_space.contains(np.asarray(action, dtype=self.action_space.dtype))
        self.steps += 1
        ended = self.steps == self.length
        reward = float(np.sum(action)) + self.np_random.normal()
        return self._draw(self.observation_space), reward, ended and self.terminates, ended and not self.terminates, {}


class Watchful(Expert):
    """Acts by what it sees, and sees to it that this is what the environment showed."""

    label = "sample"

    def __init__(self, action_space: Any, observation_space: Any):
        self.action_space, self.observation_space = action_space, observation_space

    def act(self, observations):
        rows = observations if isinstance(observations, dict) else {"": observations}
        parts = (
            self.observation_space.spaces if isinstance(self.observation_space, spaces.Dict) else {"": self.observation_space}
        )
        total = 0.0
        for key, space in parts.items():
            values = np.asarray(rows[key])
            assert values.dtype == space.dtype, (key, values.dtype)
            assert all(space.contains(row) for row in values), (key, values.shape)
            total = total + np.abs(values.reshape(len(values), -1).astype(np.float64)).sum(axis=1)
        choice = (np.asarray(total) * 10).astype(np.int64) % 2
        if isinstance(self.action_space, spaces.Discrete):
            return choice
        if isinstance(self.action_space, spaces.Box):
            return (0.8 * self.action_space.high * np.stack([2 * choice - 1, 1 - 2 * choice], axis=1)).astype(np.float32)
        return np.stack([choice, 1 - choice], axis=1)


def demonstrations(env: gym.Env, expert: Expert) -> Demonstrations:
    env.reset(seed=1)
    observations = stack_observations([env._draw(env.observation_space) for _ in range(10)])
    return Demonstrations(observations, expert.act(observations))


def build(cell: Cell, *, bound: float = 0.5, vec_class: Any = None, **kwargs: Any) -> Any:
    """The learner of one cell."""

    def plain() -> gym.Env:
        return AnySpaces(cell.action, cell.observation, bound)

    expert = Watchful(plain().action_space, plain().observation_space)

    def one() -> gym.Env:
        if cell.channel == "wrapper":
            return FeedbackWrapper(plain(), ExpertTeacher(expert))
        if cell.channel == "fork":
            return TrajectoryInjection(plain(), expert, 0.4, twin=plain)
        if cell.channel == "takeover":
            return TrajectoryInjection(plain(), expert, 0.3, mode="takeover")
        return plain()

    env = (vec_class or DummyVecEnv)([one] * (3 if cell.vec_env == "three" else 1))
    if cell.vec_env == "normalized":
        env = VecNormalize(env, **normalization(cell.observation))
    elif cell.vec_env == "stacked":
        env = VecFrameStack(env, 2)
    if cell.channel == "expert":
        kwargs["expert"] = expert
    elif cell.channel == "demonstrations":
        kwargs["demonstrations"] = demonstrations(plain(), expert)
    return learner(cell.algorithm, env, **kwargs)


def normalization(observation: str) -> dict[str, Any]:
    """What SB3 can normalise of an observation; rewards always."""
    if observation.startswith("dict"):
        return {"norm_obs_keys": ["vector"]}
    return {"norm_obs": observation == "box"}


def is_refused(cell: Cell) -> bool:
    """What has a test of its own below, or what Stable-Baselines3 itself can't do."""
    sb3_can_t = (
        (cell.algorithm == "MaskablePPO" and cell.action == "box")
        or (cell.algorithm == "RecurrentPPO" and cell.observation == "multidiscrete")  # the LSTM's input size is no int
        or (cell.vec_env == "stacked" and cell.observation not in ("box", "image"))
    )
    return sb3_can_t or (cell.channel == "demonstrations" and (cell.algorithm == "RecurrentPPO" or cell.vec_env == "stacked"))


def pairs(cell: Cell) -> set[Any]:
    return set(itertools.combinations(enumerate(cell), 2))


def covering_cells() -> list[Cell]:
    """Each algorithm with each kind of action and channel, on what covers all pairs."""
    cells: list[Cell] = []
    covered: set[Any] = set()
    for triple in itertools.product(ALGORITHMS, ACTIONS, CHANNELS):
        candidates = [Cell(*triple, *rest) for rest in itertools.product(OBSERVATIONS, VEC_ENVS)]
        allowed = [cell for cell in candidates if not is_refused(cell)]
        if allowed:
            cells.append(max(allowed, key=lambda cell: len(pairs(cell) - covered)))
            covered |= pairs(cells[-1])
    return cells


CELLS = covering_cells()
LABEL_KEYS = ("train/imitation_loss", "train/alpha", "feedback/expert_queries")
KEYS = {
    "wrapper": (*LABEL_KEYS, "feedback/rate", "feedback/expert_agreement"),
    "expert": (*LABEL_KEYS, "feedback/expert_agreement"),
    "demonstrations": ("train/imitation_loss", "train/alpha"),
    "fork": ("injection/segments", "injection/expert_steps", "injection/fork_step_mean", "injection/advantage_mean"),
    "takeover": ("injection/takeover_rate", "injection/expert_steps"),
}


def test_the_cells_cover_all_pairs_that_are_not_refused():
    possible = [
        cell
        for cell in itertools.starmap(Cell, itertools.product(ALGORITHMS, ACTIONS, CHANNELS, OBSERVATIONS, VEC_ENVS))
        if not is_refused(cell)
    ]
    assert set().union(*map(pairs, possible)) == set().union(*map(pairs, CELLS))


def check_learning(model: Any, channel: str) -> None:
    """A few updates: they move the parameters, leave them finite, and log what the channel said."""
    records = watch(model)
    before = parameters_of(model)
    model.learn(2 * N_STEPS * model.n_envs, log_interval=1)
    assert is_finite(model)
    assert not th.equal(before, parameters_of(model))
    logged = {}
    for dump in [*records.dumps, model.logger.name_to_value]:
        logged |= dump
    for key in KEYS[channel]:
        assert np.isfinite(logged[key]), key
    if channel in ("wrapper", "expert"):
        assert model.num_expert_queries > N_STEPS
        assert model.num_expert_steps == 0
    elif channel != "demonstrations":
        assert model.num_expert_steps > 0


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_a_cell_learns_and_logs(cell):
    check_learning(build(cell), cell.channel)


@pytest.mark.parametrize(
    "cell",
    [Cell("PPO", "discrete", "fork", "dict image", "three"), Cell("MaskablePPO", "multibinary", "takeover", "image", "one")],
    ids="-".join,
)
def test_a_cell_learns_in_worker_processes(cell):
    model = build(cell, vec_class=SubprocVecEnv)
    check_learning(model, cell.channel)
    model.get_env().close()


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("vec_env", ["three", "normalized"])
def test_labels_by_a_wrapper_and_by_expert_train_the_same_agent(observation, vec_env):
    action = dict(zip(OBSERVATIONS, itertools.cycle(ACTIONS), strict=False))[observation]
    models = [build(Cell("PPO", action, channel, observation, vec_env)).learn(40) for channel in ("wrapper", "expert")]
    assert models[0].num_expert_queries == models[1].num_expert_queries > 0
    assert_same_model(*models)


# --- refusals -----------------------------------------------------------------------------------------


def test_continuous_actions_can_t_be_masked():
    with pytest.raises(AssertionError, match=r"Box"):
        build(Cell("MaskablePPO", "box", "expert", "box", "one"))


@pytest.mark.parametrize("observation", ["box", "dict"])
def test_demonstrations_have_no_past_for_a_recurrent_policy(observation):
    with pytest.raises(FeedbackError, match=r"demonstrations: their rows have no past.*Use an expert="):
        build(Cell("RecurrentPPO", "box", "demonstrations", observation, "one"))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "RecurrentPPO"])
def test_demonstrations_have_no_frames_before_them(algorithm):
    model = build(Cell(algorithm, "discrete", "demonstrations", "image", "stacked"))
    with pytest.raises(FeedbackError, match=r"VecFrameStack stacks.*a demonstration has none.*FrameStackObservation"):
        model.learn(N_STEPS)


# --- exploration and squashing --------------------------------------------------------------------------

SDE_ALGORITHMS = ("A2C", "PPO", "TRPO", "RecurrentPPO")


@pytest.mark.parametrize("squash_output", [False, True])
@pytest.mark.parametrize(
    ("algorithm", "channel"),
    [pair for pair in itertools.product(SDE_ALGORITHMS, CHANNELS) if pair != ("RecurrentPPO", "demonstrations")],
)
def test_state_dependent_exploration_and_squashed_actions(algorithm, channel, squash_output):
    bound = 1.0 if algorithm == "RecurrentPPO" else 0.3
    cell = Cell(algorithm, "box", channel, "box", "three")
    model = build(cell, bound=bound, use_sde=True, policy_kwargs={"squash_output": squash_output})
    check_learning(model, channel)


def test_a_recurrent_policy_s_squashed_actions_must_have_unit_bounds():
    model = build(Cell("RecurrentPPO", "box", "expert", "box", "one"), use_sde=True, policy_kwargs={"squash_output": True})
    with pytest.raises(ValueError, match=r"squash_output=True.*RescaleAction"):
        model.learn(N_STEPS)
