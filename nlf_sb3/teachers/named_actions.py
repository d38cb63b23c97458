"""An action that a person types by name: ``left``, or ``left 0.5`` where it matters how far."""

from __future__ import annotations

import math

from nlf_sb3.action_names import ActionNames
from nlf_sb3.errors import FeedbackError
from nlf_sb3.typed_numbers import as_number

_FEW_CHOICES = 3
"""Of so many the lowest and the highest are all that a direction can mean."""


def named_action(typed: str, names: ActionNames) -> list[float] | None:
    """
    >>> from gymnasium import spaces
    >>> from nlf_sb3.action_names import Dimension
    >>> push = [Dimension("push", low="left", high="right")]
    >>> named_action("Push right", ActionNames(spaces.Discrete(2), push))
    [1.0]
    >>> named_action("left 0.5", ActionNames(spaces.Box(-2, 2, (1,)), push))
    [-0.5]

    :param typed: What was typed
    :param names: Of an action space
    :return: The action's one number; None if no direction of its one dimension is named
    :raises FeedbackError: If one is, and it isn't clear which action is meant
    """
    found = _direction(typed, names) if names.n_dimensions == 1 else None
    if found is None:
        return None
    direction, rest = found
    low, high = names.low[0], names.high[0]
    if names.is_discrete:
        if rest or high - low >= _FEW_CHOICES:
            raise FeedbackError(f"got {typed.strip()!r:.40}, expected {expected_names(names)}.")
        return [float(low if direction < 0 else high)]
    if not rest or (distance := as_number(rest)) < 0:
        raise FeedbackError(f"got {typed.strip()!r:.40}, expected {expected_names(names)}.")
    middle = (low + high) / 2 if math.isfinite(low) and math.isfinite(high) else 0.0
    return [float(middle + direction * distance)]


def expected_names(names: ActionNames) -> str:
    """
    :param names: Of an action space
    :return: What :func:`named_action` and numbers can say, after "expected"
    """
    if names.n_dimensions > 1:
        return f"{names.n_dimensions} numbers: {', '.join(dimension.name for dimension in names.dimensions)}"
    dimension, low, high = names.dimensions[0], names.low[0], names.high[0]
    if not names.is_discrete:
        return f"a number, or {dimension.low[0]} or {dimension.high[0]} with how far, such as {dimension.high[0]} 0.5"
    if high - low >= _FEW_CHOICES:
        return f"a number from {low:.0f}, the most {dimension.low[0]}, to {high:.0f}, the most {dimension.high[0]}"
    return f"{dimension.low[0]} ({low:.0f}) or {dimension.high[0]} ({high:.0f})"


def _direction(typed: str, names: ActionNames) -> tuple[int, str] | None:
    """The direction that is named, the longest of its names first, and what is left."""
    dimension = names.dimensions[0]
    text = _plain(typed)
    text = text.removeprefix(f"{_plain(dimension.name)} ")
    ways = [(_plain(word), way) for way, words in ((-1, dimension.low), (1, dimension.high)) for word in words]
    for word, way in sorted(ways, key=lambda pair: -len(pair[0])):
        if text == word or text.startswith(f"{word} "):
            return way, text[len(word) :].strip()
    return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
