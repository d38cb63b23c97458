"""A policy's answers on a minibatch, with the distribution behind them: policies may build their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.distribution_parts import OwnDistribution, has_known_rows, is_known
from nlf_sb3.errors import FeedbackError

_MAKER = "_get_action_dist_from_latent"
"""The method in which SB3's and sb3-contrib's policies make a distribution."""
_UNFILLED = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""Errors of a distribution that holds nothing yet, or other rows."""


class Evaluated(NamedTuple):
    """
    The output of ``policy.evaluate_actions``, and the distribution that it comes from.

    :param values: V(s), as the policy puts them out
    :param log_prob: log pi(a | s), ``[n]``
    :param entropy: As the policy puts it out, or None
    :param distribution: pi(. | s), n rows. The policy may refill it at its next forward pass.
    """

    values: th.Tensor
    log_prob: th.Tensor
    entropy: th.Tensor | None
    distribution: Any


class Evaluator:
    """
    ``policy.evaluate_actions``, together with the distribution that it used.

    Policies of SB3's own methods fill ``policy.action_dist``. Where a subclass makes its distribution anew, it is the one that
    it made meanwhile; where a subclass evaluates by itself, the first of those that it might have used whose
    log-probabilities are the policy's.

    :param policy: The policy
    :param evaluate_actions: Its ``evaluate_actions``, as it is outside an update
    """

    def __init__(self, policy: Any, evaluate_actions: Callable[..., Any]) -> None:
        self._policy = policy
        self._evaluate_actions = evaluate_actions
        self._is_sb3s = is_known(evaluate_actions)
        self._fills_action_dist = self._is_sb3s and has_sb3s(policy, _MAKER)

    def __call__(self, observations: Any, actions: th.Tensor, *args: Any, **kwargs: Any) -> Evaluated:
        """
        :param observations: As the policy takes them
        :param actions: As the policy takes them
        :param args: More of ``evaluate_actions``, as a recurrent policy takes them
        :param kwargs: Likewise
        :return: The policy's answers
        :raises FeedbackError: If it isn't one log-probability for each row, or no distribution is known that has them
        """
        made: list[Any] = []
        with contextlib.nullcontext() if self._fills_action_dist else _watched(self._policy, made):
            values, log_prob, entropy = self._evaluate_actions(observations, actions, *args, **kwargs)
        if log_prob.dim() != 1:
            raise FeedbackError(
                f"{type(self._policy).__name__}: log-probabilities have the shape {tuple(log_prob.shape)}, expected one for "
                "each row. Sum the distribution's log_prob over the action's dimensions."
            )
        if self._fills_action_dist:
            distribution = self._policy.action_dist
        elif self._is_sb3s and made:
            distribution = made[-1]
        else:
            distribution = self._used(made, observations, actions, log_prob, args, kwargs)
        if not has_known_rows(distribution):
            distribution = OwnDistribution(distribution, actions)
        return Evaluated(values, log_prob, entropy, distribution)

    def _used(
        self, made: list[Any], observations: Any, actions: th.Tensor, log_prob: th.Tensor, args: Any, kwargs: Any
    ) -> Any:
        """The distribution that a policy's own ``evaluate_actions`` has used."""
        policy = self._policy
        for candidate in (*reversed(made), getattr(policy, "action_dist", None)):
            if candidate is not None and _agrees(candidate, actions, log_prob):
                return candidate
        if not args and hasattr(policy, "get_distribution"):  # recurrent policies return states with it
            candidate = policy.get_distribution(observations, **kwargs)
            if _agrees(candidate, actions, log_prob) or self._agrees_without_noise(observations, actions, kwargs):
                return candidate
        raise FeedbackError(
            f"{type(policy).__name__}: evaluate_actions gives other log-probabilities than the distribution that the policy "
            "makes, so that it is unknown which of them to imitate. Have get_distribution return the distribution that "
            "evaluate_actions uses."
        )

    def _agrees_without_noise(self, observations: Any, actions: th.Tensor, kwargs: Any) -> bool:
        """Whether the policy evaluates by ``get_distribution``, apart from dropout and other noise."""
        policy = self._policy
        if not policy.training:
            return False
        policy.set_training_mode(False)
        try:
            with th.no_grad():
                _, log_prob, _ = self._evaluate_actions(observations, actions, **kwargs)
                return _agrees(policy.get_distribution(observations, **kwargs), actions, log_prob)
        finally:
            policy.set_training_mode(True)


def has_sb3s(policy: Any, name: str) -> bool:
    """
    :param policy: A policy
    :param name: One of its methods
    :return: Whether it is SB3's, sb3-contrib's or this package's
    """
    return name not in vars(policy) and is_known(getattr(type(policy), name, None))


def _agrees(distribution: Distribution, actions: th.Tensor, log_prob: th.Tensor) -> bool:
    try:
        with th.no_grad():
            own = distribution.log_prob(actions)
    except _UNFILLED:
        return False
    return own.shape == log_prob.shape and th.allclose(own, log_prob.detach(), rtol=1e-4, atol=1e-4, equal_nan=True)


@contextlib.contextmanager
def _watched(policy: Any, made: list[Any]) -> Iterator[None]:
    """While active, the distributions that a policy makes are noted."""
    make = getattr(policy, _MAKER, None)
    if make is None:
        yield
        return
    replaced_before = vars(policy).get(_MAKER)

    def make_and_note(*args: Any, **kwargs: Any) -> Any:
        distribution = make(*args, **kwargs)
        made.append(distribution)
        return distribution

    setattr(policy, _MAKER, make_and_note)
    try:
        yield
    finally:
        delattr(policy, _MAKER)
        if replaced_before is not None:
            setattr(policy, _MAKER, replaced_before)
