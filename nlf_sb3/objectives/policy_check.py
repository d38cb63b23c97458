"""Whether a user's own kind of policy can be imitated: tried on a few made-up rows, before any step is taken."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from nlf_sb3.action_scales import env_to_policy_tensor
from nlf_sb3.distribution_parts import is_known
from nlf_sb3.distributions import kl_divergence, score_cosine, select_rows
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import wrapped_environments
from nlf_sb3.objectives.evaluating import has_sb3s
from nlf_sb3.objectives.policy_rows import observations_as_rows
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

_N_ROWS = 3
_METHODS = ("evaluate_actions", "get_distribution", "forward", "_get_action_dist_from_latent")


def is_users_own(policy: Any) -> bool:
    """
    :param policy: A policy
    :return: Whether a user says how it makes or evaluates distributions, and not SB3, sb3-contrib or this package
    """
    methods = [name for name in _METHODS if hasattr(policy, name)]
    return not all(has_sb3s(policy, name) for name in methods) or not is_known(type(getattr(policy, "action_dist", None)))


def check_policy(model: Any, observations: Any = None) -> None:
    """
    Raise unless the distribution that labels would train is the one that the policy evaluates actions by.

    Policies of SB3's own making, and models that nothing teaches, pass at once. No random stream moves. Where the policy makes
    no distribution of made-up observations, which may mean nothing to it, it is tried on real ones.

    :param model: The algorithm's model
    :param observations: The learner's last observations, ``[n_envs, *obs_shape]`` or a dict of such; None if it has none
    :raises FeedbackError: With the policy's name
    """
    if not is_users_own(model.policy) or not _is_taught(model):
        return
    try:
        made_up, actions = _samples_of(model.observation_space), _samples_of(model.action_space)
    except Exception:  # a space of the user's own may have no samples
        return
    if not _is_tried(model, made_up, actions, are_real=False) and observations is not None:
        _is_tried(model, _some_rows(observations), actions, are_real=True)


def _is_tried(model: Any, observations: Any, actions: np.ndarray, *, are_real: bool) -> bool:
    """Whether the policy could say something of such observations; raises if that can't be imitated."""
    policy = model.policy
    rows = observations_as_rows(policy, observations)
    with _nothing_moves(policy):
        try:
            _try(model, rows, env_to_policy_tensor(policy, actions))
        except FeedbackError as error:
            raise FeedbackError(f"policy: {error}") from error
        except ValueError as error:
            if not are_real and not _makes_a_distribution(policy, rows):
                return False
            raise FeedbackError(
                f"policy: {type(policy).__name__} can't evaluate actions of {model.action_space}, which labels are: {error}"
            ) from error
        except (IndexError, KeyError, NotImplementedError, RuntimeError, TypeError):
            return False
    return True


def _makes_a_distribution(policy: Any, observations: Any) -> bool:
    """Whether it is the actions, and not the observations, that a policy can't evaluate."""
    try:
        policy.get_distribution(observations)
    except (IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    return True


def _is_taught(model: Any) -> bool:
    """Whether labels or an expert's steps are to be expected."""
    if model.expert is not None or model.demonstrations is not None:
        return True
    ours = (FeedbackWrapper, TrajectoryInjection)
    return model.env is not None and any(wrapped_environments(model.env, wrapper) for wrapper in ours)


def _try(model: Any, observations: Any, actions: th.Tensor) -> None:
    policy = model.policy
    starts = np.arange(_N_ROWS) == 0
    evaluation = model.feedback.adapter.policy_rows(observations, actions, starts, None).evaluate_all()
    distribution, log_prob = evaluation.distribution, evaluation.log_prob
    _compare(policy, "the distribution that it makes", distribution.log_prob(actions), log_prob)
    rows = np.arange(1, _N_ROWS)
    _compare(policy, "a part of its distribution's rows", select_rows(distribution, rows).log_prob(actions[1:]), log_prob[1:])
    if not hasattr(policy, "lstm_actor") and (
        model.feedback.adapter.imitates_get_distribution or not has_sb3s(policy, "get_distribution")
    ):
        own = policy.get_distribution(observations).log_prob(actions)
        _compare(policy, "get_distribution", own, log_prob)
    if model.imitation.loss == "kl":
        kl_divergence(_known_family(distribution), distribution)
    if any(getattr(rule, "compares_actions", False) for rule in model.imitation.weights):
        score_cosine(distribution, actions, actions)


def _known_family(distribution: Any) -> Any:
    """The same, as an expert's; one of an unknown family has none."""
    return getattr(distribution, "whole", distribution)


def _compare(policy: Any, what: str, own: th.Tensor, log_prob: th.Tensor) -> None:
    if own.shape != log_prob.shape or not th.allclose(own, log_prob, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise FeedbackError(
            f"{type(policy).__name__}: {what} gives actions the log-probabilities {own.tolist()}, and evaluate_actions gives "
            f"them {log_prob.tolist()}. Labels train the one and rollouts the other: have both use one distribution."
        )


def _samples_of(space: spaces.Space[Any]) -> Any:
    """Values of a space, in a batch; the space's own generator stays where it is."""
    own = copy.deepcopy(space)
    own.seed(0)
    samples = [own.sample() for _ in range(_N_ROWS)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([np.asarray(sample[key]) for sample in samples]) for key in space.spaces}
    return np.stack([np.asarray(sample) for sample in samples])


def _some_rows(observations: Any) -> Any:
    """As many rows of a batch as samples are made, from the first on and around."""
    if isinstance(observations, dict):
        return {key: _some_rows(value) for key, value in observations.items()}
    return observations[np.arange(_N_ROWS) % len(observations)]


@contextlib.contextmanager
def _nothing_moves(policy: Any) -> Iterator[None]:
    """While active, the policy is neither trained nor in training mode; afterwards random streams stand where they did."""
    was_training, numpys = policy.training, np.random.get_state()
    with th.random.fork_rng([policy.device] if policy.device.type == "cuda" else []), th.no_grad():
        policy.set_training_mode(False)
        try:
            yield
        finally:
            policy.set_training_mode(was_training)
            np.random.set_state(numpys)
