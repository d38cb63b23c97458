"""Counts of remarks for the logger: how many were read, how surely, and the directions that they asked for."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from stable_baselines3.common.logger import Logger

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text.corrections import Corrections

MAX_DIMENSIONS = 8
"""Dimensions whose ways are counted by name; the rest are counted together."""
_IN_A_TABLE = 4
"""Dimensions whose ways go to the printed table, too."""
_LONGEST = 33
"""Characters of a name that SB3's printed table keeps. It refuses names that are alike up to there."""
_OWN = ("remarks", "read", "praise", "blame", "confidence", "other_ways")


def way_keys(names: ActionNames) -> list[tuple[str, str]]:
    """
    Names of the ways of each dimension, the lower first, that every logger can write: plain, short and different.

    >>> from gymnasium import spaces
    >>> from nlf_sb3.action_names import Dimension
    >>> way_keys(ActionNames(spaces.Discrete(2), [Dimension("push", low="left", high="right")]))
    [('push_left', 'push_right')]

    :param names: The action space
    :return: Two for each of the first :data:`MAX_DIMENSIONS` dimensions
    """
    taken = set(_OWN)
    pairs = []
    for index, dimension in enumerate(names.dimensions[:MAX_DIMENSIONS]):
        plain = _plain(dimension.name) or f"dimension_{index + 1}"
        low, high = _plain(dimension.low[0]) or "low", _plain(dimension.high[0]) or "high"
        pairs.append((_unique(f"{plain}_{low}", taken), _unique(f"{plain}_{high}", taken)))
    return pairs


def record_words(
    logger: Logger, names: ActionNames, corrections: Corrections | None = None, weights: np.ndarray | None = None
) -> None:
    """
    Log a rollout's counts; a logger that is dumped more rarely keeps their mean. The keys are the same in each rollout, but
    for ``words/confidence``: where nothing was read there is none.

    :param logger: Receives ``words/*``
    :param names: The action space
    :param corrections: The corrections that the remarks were read as; None without remarks
    :param weights: Weight of each remark's label, 0 for no label
    """
    if corrections is None or weights is None:
        empty = np.zeros(0)
        corrections, weights = Corrections(np.zeros((0, names.n_dimensions)), empty, empty, empty), empty
    is_read = weights != 0
    directions, valences = corrections.directions[is_read], corrections.valences[is_read]
    is_praise = valences > 0
    is_blame = ~is_praise & ~(directions != 0).any(axis=1)
    asked = directions[~is_praise]
    counts = {"remarks": len(weights), "read": is_read.sum(), "praise": is_praise.sum(), "blame": is_blame.sum()}
    for name, count in counts.items():
        logger.record_mean(f"words/{name}", float(count))
    if is_read.any():
        logger.record_mean("words/confidence", float(corrections.confidences[is_read].mean()))
    for index, (low, high) in enumerate(way_keys(names)):
        exclude = ("stdout", "log") if names.n_dimensions > _IN_A_TABLE else None
        logger.record_mean(f"words/{low}", float((asked[:, index] < 0).sum()), exclude)
        logger.record_mean(f"words/{high}", float((asked[:, index] > 0).sum()), exclude)
    if names.n_dimensions > MAX_DIMENSIONS:
        logger.record_mean("words/other_ways", float((asked[:, MAX_DIMENSIONS:] != 0).any(axis=1).sum()))


def _plain(name: str) -> str:
    """Small letters, digits and underscores: a comma would break a CSV's head, and a log may be ASCII alone."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")


def _unique(key: str, taken: set[str]) -> str:
    short = key[:_LONGEST]
    number = 2
    while short in taken:
        short = f"{key[: _LONGEST - 4]}_{number}"
        number += 1
    taken.add(short)
    return short
