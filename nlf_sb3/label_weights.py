"""Weights of a rollout's labels: by scale, entropy, advantages, and trust in the expert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.distributions import score_cosine
from nlf_sb3.plain_state import saved_as_plain_state


@dataclass(frozen=True)
class LabelledRollout:
    """
    A rollout of N rows whose labels are about to train the agent.

    :param distribution: pi(. | s) of the policy that is about to be trained
    :param actions: The executed actions, in the policy's scale: ``[N, action_dim]``, or ``[N]`` integers
    :param labels: The expert's actions, or its modes; rows without a label may hold anything
    :param is_labelled: ``[N]`` booleans
    :param advantages: Advantages of the executed actions, as the policy loss takes them, ``[N]``
    """

    distribution: Distribution
    actions: th.Tensor
    labels: th.Tensor
    is_labelled: np.ndarray
    advantages: np.ndarray

    def agreement(self) -> np.ndarray:
        """
        Agreement of labels and executed actions: the cosine of the gradients of their log-likelihoods.

        :return: 1 where they are the same, negative where a step towards one leads away from the other, ``[N]``
        """
        with th.no_grad():
            cosine = score_cosine(self.distribution, self.actions, self.labels)
        return cosine.cpu().numpy()


class ImitationWeights(Protocol):
    """Maps a rollout to factors of its labels' weights: a number for all, or one for each row, ``[N]``, at least 0."""

    def __call__(self, rollout: LabelledRollout) -> float | np.ndarray: ...


@saved_as_plain_state
@dataclass
class LargestAdvantage:
    """
    The rollout's largest advantage: DAPG's scale (Rajeswaran et al., 2018, https://arxiv.org/abs/1709.10087).

    >>> from nlf_sb3 import Imitation
    >>> from nlf_sb3.schedules import GeometricSchedule
    >>> dapg = {"alpha": GeometricSchedule(0.1, 0.95), "imitation": Imitation(weights=[LargestAdvantage()])}
    """

    def __call__(self, rollout: LabelledRollout) -> float:
        return max(float(rollout.advantages.max()), 0.0)


@saved_as_plain_state
@dataclass
class AdvantageSpread:
    """
    The standard deviation of the rollout's advantages. It brings imitation to the scale of the policy gradient.

    Raw returns may grow a hundredfold during training. With normalised advantages the factor is 1.
    """

    def __call__(self, rollout: LabelledRollout) -> float:
        return float(rollout.advantages.std())


@saved_as_plain_state
@dataclass
class EntropyWeight:
    """
    ``coef`` times exp(-H), with the policy's entropy H in each state: labels have less weight where the agent explores.

    It follows SRFT's weight 0.5 exp(-H) of supervised fine-tuning (Fu et al., 2025, https://arxiv.org/abs/2506.19767). H is
    the mean over the action's dimensions. The entropy of a density may be negative; it counts as 0 then, so that the weight
    is at most ``coef``.

    :param coef: Factor
    """

    coef: float = 0.5

    def __call__(self, rollout: LabelledRollout) -> np.ndarray:
        with th.no_grad():
            entropy = rollout.distribution.entropy()
        if entropy is None:
            raise ValueError("EntropyWeight: the policy's distribution has no entropy in closed form (a squashed gSDE).")
        n_dimensions = rollout.actions.shape[1] if rollout.actions.dim() > 1 else 1
        weights: np.ndarray = self.coef * np.exp(-np.maximum(entropy.cpu().numpy() / n_dimensions, 0.0))
        return weights


@saved_as_plain_state
@dataclass
class AdvantageGate:
    r"""
    Imitate only where the expert's action is expected to do better than the agent's own average.

    To first order a label's advantage is the advantage of the executed action times the agreement of both,
    :math:`A(s, a_E) \approx A(s, a) \cos(\nabla \log \pi(a|s), \nabla \log \pi(a_E|s))`. A bad action is evidence against
    similar labels, and for labels in the opposite direction. The rule follows the :math:`(R - V)_+` of self-imitation (Oh et
    al., 2018, https://arxiv.org/abs/1806.05635), which knows only executed actions.

    :param margin: A label passes if its expected advantage is at least minus this number. The unit is that of the policy
        loss: standard deviations if advantages are normalised. A margin above 0 allows for the noise of one step's advantage.
    """

    compares_actions: ClassVar[bool] = True
    margin: float = 0.5

    def __call__(self, rollout: LabelledRollout) -> np.ndarray:
        passes: np.ndarray = rollout.advantages * rollout.agreement() >= -self.margin
        return passes.astype(np.float32)


@saved_as_plain_state
@dataclass
class TrustGate:
    """
    Trust the expert as far as the agent's experience with all its labels so far is evidence for it.

    Under a good expert, actions that agree with its labels have positive advantages. The mean of advantage times agreement
    (:meth:`LabelledRollout.agreement`) is the slope of the policy gradient along imitation. Its z-score over rollouts is the
    evidence. Older rollouts have geometrically smaller weights. Labels have their full weight from z = 0 upwards, and none
    from ``-threshold`` downwards.

    :param threshold: z-score below 0 at which trust ends, as a number above 0
    :param memory: Factor of a rollout's weight from one rollout to the next, in [0, 1)
    """

    compares_actions: ClassVar[bool] = True
    threshold: float = 2.0
    memory: float = 0.95
    total: float = field(default=0.0, init=False)
    variance: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold: got {self.threshold}, expected a number above 0.")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory: got {self.memory}, expected a number in [0, 1).")

    @property
    def z_score(self) -> float:
        """The evidence: positive for the expert, negative against it."""
        return self.total / math.sqrt(self.variance) if self.variance > 0 else 0.0

    def reset(self) -> None:
        """Begin anew: a training starts."""
        self.total = self.variance = 0.0

    def __call__(self, rollout: LabelledRollout) -> float:
        chosen = rollout.is_labelled
        if chosen.any():
            advantages = rollout.advantages[chosen]
            evidence = (advantages - advantages.mean()) * rollout.agreement()[chosen]
            self.total = self.memory * self.total + float(evidence.sum())
            self.variance = self.memory**2 * self.variance + float((evidence**2).sum())
        return float(np.clip(1.0 + self.z_score / self.threshold, 0.0, 1.0))


class LabelFactors(NamedTuple):
    """
    The product of all rules' factors for a rollout's labels.

    :param shared: Product of the rules' factors for all; it holds for demonstrations too
    :param of_rows: Product of the other rules' factors, ``[N]``
    """

    shared: float
    of_rows: np.ndarray


def label_factors(rules: Sequence[Any], rollout: LabelledRollout) -> LabelFactors:
    """
    :param rules: Each an :class:`ImitationWeights`
    :param rollout: N rows
    :return: The product of their factors
    :raises ValueError: If one of them gave something else
    """
    n_rows = len(rollout.advantages)
    shared, of_rows = 1.0, np.ones(n_rows, dtype=np.float32)
    for rule in rules:
        factors = np.asarray(rule(rollout), dtype=np.float32)
        if factors.shape not in ((), (n_rows,)) or not np.isfinite(factors).all() or (factors < 0).any():
            raise ValueError(
                f"Imitation.weights: {type(rule).__name__} gave {np.array2string(factors, threshold=8)} of shape "
                f"{factors.shape}, expected a finite number of at least 0, or one for each of {n_rows} rows."
            )
        if factors.ndim:
            of_rows *= factors
        else:
            shared *= float(factors)
    return LabelFactors(shared, of_rows)
