"""Mark each step's info with facts about it, so that a learner can tell whether it took the same step."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

STEP_MARK_KEY = "nlf_sb3.step"
"""``info`` key of the :class:`StepMark` of this package's outermost wrapper."""

Source = Literal["feedback", "fork", "takeover", "guide", "tokens"]
Entries = dict[str, np.ndarray]
"""Some entries of an observation, by its keys: ``""`` where it has none."""

_N_ENTRIES = 64


@dataclass(slots=True, eq=False)
class StepMark:
    """
    A step as one of this package's wrappers saw it.

    :param wrapper: The wrapper's name
    :param source: What it hands out: feedback, tokens' segments, or a mode of TrajectoryInjection
    :param stream: Tells this wrapper from all others
    :param n_steps: Steps that it has taken since it was made
    :param episode_step: Steps that it has taken since its last reset
    :param is_reset: Whether this marks a reset, which has none of what follows
    :param action: The action that it got
    :param passed_on: The action that it executed in the place of that one, if it did
    :param given: Whether this step's info holds what it hands out
    :param reward: The reward that it returned, where whole episodes are handed out, as are the next three
    :param terminated: As it returned it
    :param truncated: As it returned it
    :param observed: Some entries of the observation acted in; None where no whole episodes are handed out
    :param inner: The mark of the next of this package's wrappers inside
    """

    wrapper: str
    source: Source
    stream: int
    n_steps: int
    episode_step: int
    is_reset: bool
    action: Any = None
    passed_on: Any = None
    given: bool = False
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    observed: Entries | None = None
    inner: StepMark | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> StepMark:
        # DummyVecEnv deep-copies every info at every step, and a mark is written once.
        return self


class StepMarker:
    """
    Makes a wrapper's marks.

    :param wrapper: The wrapper
    :param source: What it hands out
    """

    def __init__(self, wrapper: gym.Wrapper, source: Source) -> None:
        self._name = type(wrapper).__name__
        self._source: Source = source
        self._space = wrapper.observation_space if source in ("fork", "tokens") else None
        self._stream = uuid.uuid4().int
        self._n_steps = 0
        self._episode_step = 0
        self._observed: Entries | None = None

    def begin(self, observation: Any, inner: Any) -> StepMark:
        """
        :param observation: What the wrapper's reset returns
        :param inner: What the info holds by the key of marks: that of the wrapper inside, or an environment's own entry
        :return: The mark of the reset
        """
        self._episode_step = 0
        self._look_at(observation)
        return StepMark(self._name, self._source, self._stream, self._n_steps, 0, True, inner=_as_mark(inner))

    def step(
        self,
        action: Any,
        returned: tuple[Any, Any, bool, bool],
        inner: Any,
        *,
        given: bool,
        passed_on: Any = None,
    ) -> StepMark:
        """
        :param action: What the wrapper got
        :param returned: Observation, reward, terminated and truncated, as it returns them
        :param inner: What the info holds by the key of marks: that of the wrapper inside, or an environment's own entry
        :param given: Whether the step's info holds what the wrapper hands out
        :param passed_on: What it executed in the action's place, if it did
        :return: The mark of the step
        """
        self._n_steps += 1
        self._episode_step += 1
        received = action.copy() if isinstance(action, np.ndarray) else action
        count = self._n_steps, self._episode_step
        mark = StepMark(
            self._name, self._source, self._stream, *count, False, received, passed_on, given, inner=_as_mark(inner)
        )
        if self._space is not None:
            observation, reward, mark.terminated, mark.truncated = returned
            mark.reward, mark.observed = float(reward), self._observed
            self._look_at(observation)
        return mark

    def _look_at(self, observation: Any) -> None:
        if self._space is not None:
            self._observed = some_entries(observation, self._space)


def _as_mark(entry: Any) -> StepMark | None:
    return entry if isinstance(entry, StepMark) else None


def some_entries(observation: Any, space: spaces.Space) -> Entries:
    """
    :param observation: One observation
    :param space: Its space
    :return: All of its entries if they are few, else some that are spread over it, in the space's dtype
    """
    if isinstance(space, spaces.Dict):
        return {key: some_entries(observation[key], part)[""] for key, part in space.spaces.items()}
    flat = np.asarray(observation).reshape(-1)
    return {"": flat[_places(len(flat))].astype(space.dtype)}


@cache
def _places(size: int) -> Any:
    return slice(None) if size <= _N_ENTRIES else np.linspace(0, size - 1, _N_ENTRIES).astype(int)
