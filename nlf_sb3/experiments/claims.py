"""The two claims, computed from the episodes of all runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from nlf_sb3.experiments.protocols import Arm, Protocol
from nlf_sb3.experiments.statistics import AXES, SpeedUp, reach, speed_up, spent, trailing_mean


@dataclass(frozen=True)
class Claim:
    """
    How much less an arm needed than another to reach a return.

    :param protocol: Protocol
    :param arm: The arm
    :param baseline: What it is compared with
    :param threshold: Trailing mean return to reach
    :param window: Episodes in that mean
    :param axes: Speed-up on each axis; the baseline asks no expert, so that queries have no ratio
    """

    protocol: str
    arm: Arm
    baseline: Arm
    threshold: float
    window: int
    axes: dict[str, SpeedUp]

    def as_dict(self) -> dict[str, Any]:
        """The claim as plain data; infinity, which JSON lacks, becomes None."""
        return finite(asdict(self))  # type: ignore[no-any-return]


def claims(protocol: Protocol, episodes: pd.DataFrame) -> list[Claim]:
    """
    :param protocol: The protocol
    :param episodes: All its episodes
    :return: Joint over REINFORCE, injection over REINFORCE, injection over the control
    """
    runs: dict[Any, pd.DataFrame] = dict(iter(episodes.groupby(["arm", "seed"])))
    seeds = sorted(episodes["seed"].unique())
    at_end = [trailing_mean(runs["reinforce", seed]["return"].to_numpy(), protocol.window)[-1] for seed in seeds]
    level = float(np.median(at_end))
    joint_level, injection_level = (
        level if threshold is None else threshold for threshold in (protocol.joint_threshold, protocol.injection_threshold)
    )
    pairs: list[tuple[Arm, Arm, float]] = [
        ("joint", "reinforce", joint_level),
        ("injection", "reinforce", injection_level),
        ("injection", "control", injection_level),
    ]
    return [
        Claim(
            protocol.name,
            arm,
            baseline,
            threshold,
            protocol.window,
            _axes(runs, seeds, arm, baseline, threshold, protocol.window),
        )
        for arm, baseline, threshold in pairs
    ]


def _axes(
    runs: dict[Any, pd.DataFrame], seeds: list[int], arm: Arm, baseline: Arm, threshold: float, window: int
) -> dict[str, SpeedUp]:
    needed = {name: [reach(runs[name, seed], threshold, window) for seed in seeds] for name in (arm, baseline)}
    in_all = [spent(runs[baseline, seed]) for seed in seeds]

    def column(rows: list[dict[str, float]], axis: str) -> np.ndarray:
        return np.array([row[axis] for row in rows])

    return {axis: speed_up(column(needed[baseline], axis), column(needed[arm], axis), column(in_all, axis)) for axis in AXES}


def finite(value: Any) -> Any:
    """
    >>> finite({"ratio": float("inf"), "seeds": 5})
    {'ratio': None, 'seeds': 5}

    :param value: Plain data
    :return: The same with None for infinity and NaN, which JSON lacks
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
