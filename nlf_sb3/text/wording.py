"""Actions and readings in words, so that a person sees what was done and what their remark is read as."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nlf_sb3.action_names import ActionNames
from nlf_sb3.masks import allowed_rows
from nlf_sb3.text.corrections import Corrections, Interpreter, Remarks, correction_targets

_SHOWN = 6
_A_LITTLE, _A_LOT = 0.1, 0.4
"""Sizes, in half ranges, up to which a step is a little, and from which it is a lot."""


def describe_action(names: ActionNames, action: Any) -> str:
    """
    An action by name: for each dimension the way from its middle, and how far of how much. Of many dimensions, those are
    shown that are furthest from it.

    >>> from gymnasium import spaces
    >>> from nlf_sb3.action_names import Dimension
    >>> names = ActionNames(spaces.Box(-2, 2, (1,)), [Dimension("push", low="left", high="right")])
    >>> describe_action(names, [-0.8])
    'push left, 0.8 of 2'

    :param names: The action space
    :param action: Environment-scale, ``action_shape``
    :return: One phrase for each dimension
    """
    row = names.flatten(np.asarray(action)[None])[0]
    both = np.isfinite(names.low) & np.isfinite(names.high)
    middle = np.zeros_like(row)
    middle[both] = (names.low[both] + names.high[both]) / 2
    away = row - middle
    most = np.argsort(-np.abs(away / names.half_range), kind="stable")[:_SHOWN]
    phrases = [_phrase(names, index, row[index], away[index], bool(both[index])) for index in sorted(most.tolist())]
    more = names.n_dimensions - len(phrases)
    return "; ".join(phrases) + (f"; and {more} nearer the middle" if more else "")


def _phrase(names: ActionNames, index: int, value: float, away: float, is_bounded: bool) -> str:
    dimension = names.dimensions[index]
    if not away:
        return f"{dimension.name} neither {dimension.low[0]} nor {dimension.high[0]}"
    way = f"{dimension.name} {dimension.towards(away)}"
    low, high = names.low[index], names.high[index]
    if names.is_discrete:
        return way if high - low < 3 else f"{way}, {value:.0f} in {low:.0f} to {high:.0f}"
    return f"{way}, {abs(away):.3g}" + (f" of {names.half_range[index]:.3g}" if is_bounded else "")


class RemarkReading(NamedTuple):
    """
    What one remark is read as, and what is learnt from it.

    :param corrections: The interpreter's reading, one row
    :param target: The action that imitation is given, environment-scale
    :param weight: How much it counts; 0 where nothing is learnt
    :param is_forbidden: Whether the environment's mask forbids what it asks for
    """

    corrections: Corrections
    target: np.ndarray
    weight: float
    is_forbidden: bool


def read_remark(
    interpreter: Interpreter, text: str, action: Any, masks: np.ndarray | None = None, kind: str | None = None
) -> RemarkReading:
    """
    :param interpreter: Reads it
    :param text: What was said
    :param action: What was done, environment-scale
    :param masks: Which choices the environment allowed, if it has masks
    :param kind: The kind of the text, if it is known
    :return: What training makes of it
    """
    names = interpreter.names
    actions = np.asarray(action)[None]
    corrections = interpreter.interpret(Remarks([text], [kind], actions))
    targets = correction_targets(names, actions, corrections)
    is_forbidden = masks is not None and not allowed_rows(targets.actions, masks[None], names.space)[0]
    weight = 0.0 if is_forbidden else float(targets.weights[0])
    return RemarkReading(corrections, targets.actions[0], weight, is_forbidden)


def describe_reading(names: ActionNames, reading: RemarkReading) -> str:
    """
    :param names: The action space
    :param reading: Of one remark
    :return: What it is read as, or that nothing is learnt from it
    """
    directions, valence = reading.corrections.directions[0], reading.corrections.valences[0]
    confidence = float(reading.corrections.confidences[0])
    if not confidence or not (directions.any() or valence):
        return "not understood: nothing is learnt from it"
    sure = f"sure {confidence:.2f}"
    if valence > 0:
        asks = f"praise: the same again, {sure}"
    elif not directions.any():
        asks = f"blame: this less often, {sure}"
    else:
        ways = [
            f"{dimension.name} more {dimension.towards(way)}"
            for dimension, way in zip(names.dimensions, directions, strict=True)
            if way
        ]
        asks = f"{' and '.join(ways)}{_how_far(names, reading)}, {sure}"
    if reading.weight and directions.any() and valence <= 0:
        return f"read as: {asks}; to learn: {describe_action(names, reading.target)}"
    if reading.weight:
        return f"read as: {asks}"
    why = "the environment forbids it here" if reading.is_forbidden else "there is no more of it"
    return f"read as: {asks}; but {why}: nothing is learnt from it"


def _how_far(names: ActionNames, reading: RemarkReading) -> str:
    size = reading.corrections.sizes[0]
    if names.is_discrete or _A_LITTLE < size < _A_LOT:
        return ""
    return ", a little" if size <= _A_LITTLE else ", a lot"
