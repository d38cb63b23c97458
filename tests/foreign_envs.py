"""Environments, teachers and experts that write into their own arrays, and vectorised environments that aren't SB3's."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3 import Feedback
from nlf_sb3.teachers import Expert
from nlf_sb3.teachers.experts import single_row

N_CHOICES = 3
_ACTION_SPACES = {
    "box": lambda: spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": lambda: spaces.Discrete(N_CHOICES),
    "masked": lambda: spaces.Discrete(N_CHOICES),
    "multidiscrete": lambda: spaces.MultiDiscrete([3, 2]),
}


class ArrayEnv(gym.Env):
    """
    A walk of 4 to 7 steps, all of it from the reset seed, that owns one array for each thing that it hands out.

    :param action: "box", "discrete", "masked" or "multidiscrete"
    :param in_place: Hand out these very arrays, and write into the actions that it is given; else copies
    :param dict_observation: Whether it observes a dict
    """

    def __init__(self, action: str = "box", *, in_place: bool = True, dict_observation: bool = False) -> None:
        self.action_space = _ACTION_SPACES[action]()
        flat = spaces.Box(-20.0, 20.0, (3,), np.float32)
        self.observation_space = spaces.Dict({"walk": flat}) if dict_observation else flat
        self.in_place = in_place
        self.state, self.allowed = np.zeros(3, np.float32), np.ones(N_CHOICES, bool)
        self.observation: Any = {"walk": self.state} if dict_observation else self.state
        self.info: dict[str, Any] = {"seen": self.state, "parts": {"last": np.zeros(1, np.float32)}}
        self.executed: list[np.ndarray] = []
        if action == "masked":
            self.action_masks = lambda: self._own(self.allowed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.length, self.count = int(self.np_random.integers(4, 8)), 0
        shift = 0.0 if options is None else options.pop("shift", 0.0)
        self.state[:] = self.np_random.uniform(-1, 1, 3) + shift
        return self._look()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.executed.append(np.array(action))
        push = float(np.sum(action))
        if self.in_place and isinstance(action, np.ndarray) and action.ndim:
            action[...] = 0
        self.count += 1
        self.state[:] = 0.8 * self.state + 0.2 * self.np_random.standard_normal(3) + [0.1 * push, -0.1 * push, 0.05]
        observation, info = self._look()
        return observation, 1.0 - float(np.abs(self.state).sum()), self.count == self.length, False, info

    def _look(self) -> tuple[Any, dict[str, Any]]:
        self.allowed[:] = masks_of(self.state[None])[0]
        self.info["parts"]["last"][:] = self.state[:1]
        return self._own(self.observation), self._own(self.info)

    def _own(self, value: Any) -> Any:
        if self.in_place:
            return value
        return {key: self._own(part) for key, part in value.items()} if isinstance(value, dict) else value.copy()


def masks_of(observations: np.ndarray) -> np.ndarray:
    """What the masked environment allows: the middle choice always. ``[n, 3]``."""
    first = np.asarray(observations)[:, 0]
    return np.stack([first < 0.2, np.ones_like(first, bool), first > -0.2], axis=1)


class OneArrayExpert(Expert):
    """
    Answers in one array again and again.

    :param space: The action space
    :param in_place: False for new arrays, and then it leaves what it is shown alone; else it uses that as scratch paper
    """

    label = "sample"

    def __init__(self, space: spaces.Space, *, in_place: bool = True) -> None:
        self.space = space
        self.in_place = in_place
        self.array: np.ndarray | None = None

    def act(self, observations: Any) -> np.ndarray:
        return self._answer(self.wished(observations), observations)

    def act_within(self, observations: Any, action_masks: np.ndarray) -> np.ndarray:
        last_allowed = action_masks.shape[1] - 1 - action_masks[:, ::-1].argmax(axis=1)
        answer = self._answer(last_allowed, observations)
        if self.in_place:
            action_masks[...] = ~action_masks
        return answer

    def wished(self, observations: Any) -> np.ndarray:
        """What it would do, in a new array."""
        walk = np.asarray(observations["walk"] if isinstance(observations, dict) else observations)
        if isinstance(self.space, spaces.Box):
            return 0.5 * np.tanh(walk[:, :2] * [1.0, -2.0]).astype(np.float32)
        choices = (walk[:, 0] > 0).astype(np.int64) + (walk[:, 1] > 0.2)
        return np.stack([choices, walk[:, 2] > 0], axis=1) if isinstance(self.space, spaces.MultiDiscrete) else choices

    def _answer(self, wished: np.ndarray, observations: Any) -> np.ndarray:
        if not self.in_place:
            return wished
        if self.array is None or self.array.shape != wished.shape:
            self.array = np.empty_like(wished)
        self.array[...] = wished
        scribble(observations)
        return self.array


class OneArrayTeacher:
    """
    Labels each step in one array, keeps what it is shown, and then writes into all of it.

    :param expert: The expert, which answers in one array too
    :param scribbles: Whether it writes into what it was shown
    """

    def __init__(self, expert: Expert, *, scribbles: bool = True) -> None:
        self.expert = expert
        self.scribbles = scribbles
        self.kept: list[Any] = []
        self.array = np.zeros(expert.space.shape, expert.space.dtype)

    def __call__(self, transition: Any) -> Feedback:
        self.kept.append(transition)
        rows, masks = single_row(copy.deepcopy(transition.observation)), transition.action_masks
        self.array[...] = (self.expert.act(rows) if masks is None else self.expert.act_within(rows, masks[None].copy()))[0]
        feedback = Feedback(expert_action=self.array)
        if self.scribbles:
            self.array[...] = 0
            scribble(transition.observation, transition.action, transition.next_observation, masks, transition.info)
            transition.info["scribbled"] = True
        return feedback


def scribble(*values: Any) -> None:
    """Writes into every array that it is given."""
    for value in values:
        if isinstance(value, dict):
            scribble(*value.values())
        elif isinstance(value, np.ndarray) and value.flags.writeable and value.ndim:
            value[...] = 1


class Simulation(gym.Env):
    """Many environments at once: its own spaces are batched, as Isaac Lab's are."""

    def __init__(self, n_envs: int, action_space: spaces.Space) -> None:
        self.observation_space = spaces.Dict({"policy": spaces.Box(-20.0, 20.0, (n_envs, 3), np.float32)})
        self.action_space = spaces.Tuple([action_space] * n_envs)


ANSWERS = ("NotImplementedError", "AttributeError", "one for all", "None", "False")
"""What an adapter may say when it is asked which wrappers it has."""


class BatchedAdapter(VecEnv):
    """
    Steps a batch at once, as Isaac Lab's adapter for SB3 does: there are no single environments, and few answers.

    :param action: "box", "discrete" or "masked"
    :param answer: One of :data:`ANSWERS`
    :param in_place: Whether each step writes into the same arrays
    """

    def __init__(self, action: str = "box", answer: str = "NotImplementedError", *, n_envs: int = 4, in_place: bool = False):
        space = _ACTION_SPACES[action]()
        self.env, self.answer, self.in_place = Simulation(n_envs, space), answer, in_place
        self.envs = n_envs  # simulators use this name for a number, too
        super().__init__(n_envs, spaces.Box(-20.0, 20.0, (3,), np.float32), space)
        self.reset_infos = {"log": np.zeros(n_envs)}  # of the batch, not of an environment
        self.rng = np.random.default_rng(0)
        self.state, self.count = np.zeros((n_envs, 3), np.float32), np.zeros(n_envs, int)
        self.rewards, self.dones = np.zeros(n_envs, np.float32), np.zeros(n_envs, bool)

    @property
    def unwrapped(self) -> Any:
        return self.env.unwrapped

    def seed(self, seed: int | None = None) -> list[None]:
        self.rng = np.random.default_rng(seed)
        return [None] * self.num_envs

    def reset(self) -> np.ndarray:
        self._begin(np.ones(self.num_envs, bool))
        return self._own(self.state)

    def _begin(self, which: np.ndarray) -> None:
        self.state[which] = self.rng.uniform(-1, 1, (int(which.sum()), 3))
        self.count[which] = 0

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = np.asarray(actions, np.float32).reshape(self.num_envs, -1)

    def step_wait(self) -> Any:
        push = self.actions.sum(axis=1, keepdims=True)
        self.state[...] = 0.8 * self.state + 0.2 * self.rng.standard_normal(self.state.shape) + 0.1 * push
        self.count += 1
        self.rewards[:] = 1.0 - np.abs(self.state).sum(axis=1)
        self.dones[:] = self.count >= 4 + np.arange(self.num_envs)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(self.dones):
            infos[index]["terminal_observation"] = self.state[index].copy()
            infos[index]["TimeLimit.truncated"] = bool(index % 2)
        self._begin(self.dones)
        return self._own(self.state), self._own(self.rewards), self._own(self.dones), infos

    def _own(self, array: np.ndarray) -> np.ndarray:
        return array if self.in_place else array.copy()

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "action_masks" and isinstance(self.env.action_space[0], spaces.Box):
            raise AttributeError(attr_name)
        return [getattr(self.env, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("Setting attributes is not supported.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        if method_name == "action_masks":
            return masks_of(self.state)
        return getattr(self.env, method_name)(*args, indices=indices, **kwargs)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Any:
        if self.answer.endswith("Error"):
            raise {"NotImplementedError": NotImplementedError, "AttributeError": AttributeError}[self.answer]("not supported")
        return {"one for all": [False], "None": None, "False": False}[self.answer]


class ListAdapter(VecEnv):
    """
    Steps single environments one after another, as ``DummyVecEnv`` does, and is none.

    :param env_fns: Make the environments
    :param can_say: Whether it says which wrappers they have, and passes questions on to them
    :param shows_envs: Whether it has them in a list ``envs``
    """

    def __init__(self, env_fns: list[Any], *, can_say: bool = False, shows_envs: bool = True) -> None:
        self.single, self.can_say = [make() for make in env_fns], can_say
        if shows_envs:
            self.envs = self.single
        self.next_seeds: list[int | None] = [None] * len(env_fns)
        super().__init__(len(env_fns), self.single[0].observation_space, self.single[0].action_space)

    def reset(self) -> np.ndarray:
        observations = [env.reset(seed=seed)[0] for env, seed in zip(self.single, self.next_seeds, strict=True)]
        self.next_seeds = [None] * self.num_envs
        return np.stack(observations)

    def seed(self, seed: int | None = None) -> list[int | None]:
        self.next_seeds = [None if seed is None else seed + index for index in range(self.num_envs)]
        return self.next_seeds

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        steps = [self._step(env, action) for env, action in zip(self.single, self.actions, strict=True)]
        observations, rewards, dones, infos = zip(*steps, strict=True)
        return np.stack(observations), np.array(rewards, np.float32), np.array(dones), list(infos)

    def _step(self, env: gym.Env, action: Any) -> Any:
        observation, reward, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            info = {**info, "terminal_observation": observation, "TimeLimit.truncated": truncated and not terminated}
            observation, _ = env.reset()
        return observation, reward, terminated or truncated, info

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        if not self.can_say and method_name != "action_masks":
            raise NotImplementedError(method_name)
        return [env.get_wrapper_attr(method_name)(*args, **kwargs) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        if not self.can_say:
            raise NotImplementedError("Checking if environment is wrapped is not supported.")
        return [_is_wrapped(env, wrapper_class) for env in self._chosen(indices)]

    def _chosen(self, indices: Any) -> list[Any]:
        return [self.single[index] for index in (range(self.num_envs) if indices is None else indices)]


def _is_wrapped(env: Any, wrapper_class: Any) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, wrapper_class):
            return True
        env = env.env
    return False
