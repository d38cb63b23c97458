"""What a remark asks for: corrections of actions, and the targets and weights that imitation takes from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from nlf_sb3.action_names import ActionNames


class Remarks(NamedTuple):
    """
    What was said about n steps.

    :param texts: The words, n of them
    :param kinds: LLF-Bench's kinds of text or None, n of them
    :param actions: What was done, environment-scale, ``[n, *action_shape]``
    :param observations: What was acted in, in the policy's scale, ``[n, *obs_shape]`` or a dict of such; None if not known
    """

    texts: list[str]
    kinds: list[str | None]
    actions: np.ndarray
    observations: Any = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Corrections:
    """
    What n remarks ask for.

    :param directions: Which way each dimension should go from what was done, -1, 0 or 1, ``[n, n_dimensions]``. Of praise:
        which way it was right to go
    :param sizes: How far, in half ranges of the dimension, ``[n]``
    :param valences: 1 for praise of what was done, -1 for blame, 0 for neither, ``[n]``
    :param confidences: How sure the reading is, from 0 to 1, ``[n]``
    """

    directions: np.ndarray
    sizes: np.ndarray
    valences: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)


class Interpreter(Protocol):
    """Reads remarks. It may have a method ``observe(remarks, expert_actions)``, and learns from rows that have both."""

    names: ActionNames

    def interpret(self, remarks: Remarks) -> Corrections: ...


class Targets(NamedTuple):
    """
    What imitation is to do about n remarks.

    :param actions: Environment-scale, ``[n, *action_shape]``
    :param weights: Below 0 where the action is to become less likely, 0 where nothing is to be done, ``[n]``
    """

    actions: np.ndarray
    weights: np.ndarray


def correction_targets(names: ActionNames, actions: np.ndarray, corrections: Corrections, gain: float = 1.0) -> Targets:
    r"""
    :math:`a^* = a + h e`, COACH's step (Celemin and Ruiz-del-Solar, 2015, https://doi.org/10.1007/978-3-319-22885-3_46; the
    interactive one, not the convergent actor-critic of the same name).

    e is the direction and h the size, in the dimension's half ranges; in Discrete spaces at least one whole step. Praise makes
    what was done its own target, blame without a direction a target to leave: its weight is negative. Weights are confidences.

    :param names: The action space
    :param actions: What was done, environment-scale, ``[n, *action_shape]``
    :param corrections: What was asked for
    :param gain: Factor of all steps
    :return: Targets and their weights
    """
    taken = names.flatten(actions)
    steps = corrections.directions * corrections.sizes[:, None] * names.half_range * gain
    if names.is_discrete:
        steps = np.sign(steps) * np.maximum(np.rint(np.abs(steps)), 1.0)
    is_corrected = (corrections.directions != 0).any(axis=1) & (corrections.valences <= 0)
    targets = names.unflatten(np.where(is_corrected[:, None], taken + steps, taken))
    weights = np.where(is_corrected, 1.0, corrections.valences) * corrections.confidences
    if names.is_discrete:  # a correction that the bounds swallow asks for what was done
        is_swallowed = is_corrected & (names.flatten(targets) == taken).all(axis=1)
        weights = np.where(is_swallowed, 0.0, weights)
    return Targets(targets, weights.astype(np.float32))
