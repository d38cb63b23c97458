"""What an expert is, and how a function becomes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.errors import ActionShapeError, FeedbackError, add_hint
from nlf_sb3.segments import Observations


class Expert(ABC):
    """
    Someone who knows what to do: maps raw observations to environment-scale actions, in batches.

    :param label: Whether ``act`` returns samples of the expert's distribution or its mode
    """

    label: Literal["sample", "mode"] = "mode"

    @abstractmethod
    def act(self, observations: Observations) -> np.ndarray:
        """
        :param observations: Raw (not normalised) observations, ``[n, *obs_shape]`` or a dict of such
        :return: Environment-scale actions, ``[n, *action_shape]``
        """

    def act_within(self, observations: Observations, action_masks: np.ndarray) -> np.ndarray:
        """
        Act where only some actions are allowed. By default the masks are ignored; an action that they forbid
        is then refused by whoever asked.

        :param observations: Raw (not normalised) observations, ``[n, *obs_shape]`` or a dict of such
        :param action_masks: Which choices are allowed, ``[n, n_choices]`` booleans
        :return: Environment-scale actions, ``[n, *action_shape]``
        """
        return self.act(observations)

    def distribution(self, observations: Observations) -> Distribution | None:
        """
        :param observations: ``[n, *obs_shape]`` or a dict of such
        :return: The distribution that actions come from, as an SB3 distribution of n rows, or None if
            this expert has none
        """
        return None

    def log_prob(self, observations: Observations, actions: np.ndarray) -> np.ndarray | None:
        """
        :param observations: ``[n, *obs_shape]`` or a dict of such
        :param actions: Environment-scale actions, ``[n, *action_shape]``
        :return: log pi_E(a | s), ``[n]``, or None if this expert has no distribution
        """
        return None

    def log_density(
        self, observations: Observations, actions: np.ndarray, action_masks: np.ndarray | None = None
    ) -> np.ndarray | None:
        """
        What injected rows carry beside an expert's actions: log pi_E in the environment's units, and within the masks
        that it acted in. By default it is :meth:`log_prob`.

        :param observations: ``[n, *obs_shape]`` or a dict of such
        :param actions: Environment-scale actions, ``[n, *action_shape]``
        :param action_masks: Which choices were allowed, ``[n, n_choices]`` booleans, or None
        :return: ``[n]``, or None if this expert has no distribution
        """
        return self.log_prob(observations, actions)

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:  # noqa: B027 - most know no space
        """
        Raise if this expert can't teach in an environment; algorithms and wrappers ask before the first step.

        :param observation_space: Space of the raw observations
        :param action_space: Space of the environment-scale actions
        """

    def seed(self, seed: int | None) -> None:  # noqa: B027 - most experts draw nothing
        """
        :param seed: Seed of the expert's own generator, if it draws anything
        """


class CallableExpert(Expert):
    """
    A function as an expert.

    >>> import numpy as np
    >>> expert = CallableExpert(lambda obs: -obs[:, :1])
    >>> expert.act(np.array([[0.5, 1.0]]))
    array([[-0.5]])

    :param function: Maps ``[n, *obs_shape]`` to ``[n, *action_shape]``
    :param label: Whether its actions are ``"sample"`` or ``"mode"``
    :param batched: False if the function takes one observation and returns one action
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        label: Literal["sample", "mode"] = "mode",
        *,
        batched: bool = True,
    ) -> None:
        self.function = function
        self.label = label
        self.batched = batched

    def act(self, observations: Observations) -> np.ndarray:
        if self.batched:
            return _without_state(self.function(observations))  # type: ignore[no-any-return]
        return np.stack([np.asarray(_without_state(self.function(row))) for row in iterate_rows(observations)])


def _without_state(answer: Any) -> Any:
    """What a function returned, unless that is a pair of actions and a state, as ``model.predict`` returns it."""
    is_pair = isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], np.ndarray)
    if is_pair and (answer[1] is None or isinstance(answer[1], tuple)):
        raise FeedbackError(
            "expert: the function returned a pair, as predict of SB3's models does: actions and a state. Pass the model "
            "itself or its method (model or model.predict), or return the first of the two."
        )
    return answer


def hint_at_rows(expert: Expert, error: Exception) -> None:
    """
    Add a hint to an error that a function for single observations would make when it gets several.

    :param expert: The expert that was asked
    :param error: What came of it
    """
    may_be_of_one_row = isinstance(error, ActionShapeError) or not isinstance(error, FeedbackError)
    if may_be_of_one_row and isinstance(expert, CallableExpert) and expert.batched:
        add_hint(error, "(It got observations [n, ...]; CallableExpert(f, batched=False) gives it one at a time.)")


def n_rows(observations: Observations) -> int:
    """The number of rows in a batch of observations."""
    return len(next(iter(observations.values()))) if isinstance(observations, dict) else len(observations)


def iterate_rows(observations: Observations) -> list[Any]:
    """A batch of observations as a list of single ones."""
    if isinstance(observations, dict):
        return [{key: value[row] for key, value in observations.items()} for row in range(n_rows(observations))]
    return list(observations)


def single_row(observation: Any) -> Observations:
    """One observation as a batch of one row."""
    if isinstance(observation, dict):
        return {key: np.asarray(value)[None] for key, value in observation.items()}
    return np.asarray(observation)[None]
