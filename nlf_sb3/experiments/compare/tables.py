"""The tables of a comparison, as cells of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nlf_sb3.experiments.compare.figures import ArmFigures, OverallFigures
from nlf_sb3.experiments.compare.statistics import Estimate
from nlf_sb3.experiments.statistics import SpeedUp

AXIS_NAMES = {
    "agent_steps": "agent steps",
    "total_steps": "agent + expert steps",
    "expert_labels": "expert labels",
    "gradient_steps": "gradient steps",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class TextTable:
    """
    A table of text.

    :param columns: Names of the columns
    :param rows: A cell for each of them
    """

    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table in Markdown."""
        rule = ["---"] + ["---:"] * (len(self.columns) - 1)
        return "\n".join(f"| {' | '.join(row)} |" for row in [self.columns, rule, *self.rows])


def threshold_table(arms: Sequence[ArmFigures]) -> TextTable:
    """
    :param arms: The arms of one environment
    :return: What each spent until it reached the threshold
    """
    return TextTable(
        ["arm", "never", *AXIS_NAMES.values()],
        [[a.arm, f"{a.never} of {a.seeds}", *(_needed(a, axis) for axis in AXIS_NAMES)] for a in arms],
    )


def speed_up_table(arms: Sequence[ArmFigures]) -> TextTable:
    """
    :param arms: The arms of one environment
    :return: How many times less each spent than the baseline; labels are left out where the baseline asks for none
    """
    compared = [(arm.arm, arm.speed_up) for arm in arms if arm.speed_up is not None]
    baseline_asks = any(arm.labels for arm in arms if arm.speed_up is None)
    axes = [axis for axis in AXIS_NAMES if axis != "expert_labels" or baseline_asks]
    return TextTable(
        ["arm", *(AXIS_NAMES[axis] for axis in axes)],
        [[name, *(_times(speed_up[axis]) for axis in axes)] for name, speed_up in compared],
    )


def return_table(arms: Sequence[ArmFigures], baseline: str) -> TextTable:
    """
    :param arms: The arms of one environment
    :param baseline: What they are compared with
    :return: What each reached
    """
    return TextTable(
        ["arm", "final return", "area", f"better than {baseline}", f"of {baseline}'s return"],
        [[a.arm, figure(a.final), figure(a.area), figure(a.improvement), figure(a.ratio)] for a in arms],
    )


def overall_table(arms: Sequence[OverallFigures], baseline: str) -> TextTable:
    """
    :param arms: The arms over all environments
    :param baseline: What they are compared with
    :return: What each reached
    """
    return TextTable(
        ["arm", "score", f"better than {baseline}"],
        [[arm.arm, figure(arm.score), figure(arm.improvement)] for arm in arms],
    )


def short_table(arms: Sequence[ArmFigures], baseline: str) -> TextTable:
    """
    :param arms: The arms of one environment
    :param baseline: What they are compared with
    :return: The most telling columns, for a terminal
    """
    return TextTable(
        ["arm", "never", "agent steps", "expert labels", "final return", f"better than {baseline}"],
        [
            [
                a.arm,
                f"{a.never} of {a.seeds}",
                _needed(a, "agent_steps"),
                _needed(a, "expert_labels"),
                figure(a.final),
                figure(a.improvement),
            ]
            for a in arms
        ],
    )


def amount(estimate: Estimate) -> str:
    """
    >>> amount(Estimate(1234.0, 900.0, float("inf")))
    '1,234 [900, never]'

    :param estimate: What was needed
    :return: As text; infinity is never
    """
    return _with_interval(
        estimate, lambda value: "never" if np.isinf(value) else f"{value:,.0f}" if value >= 10 else f"{value:.3g}"
    )


def figure(estimate: Estimate | None) -> str:
    """
    >>> figure(Estimate(0.51234, 0.25, 0.75)), figure(None)
    ('0.51 [0.25, 0.75]', '-')

    :param estimate: A figure, or None where there is none
    :return: As text
    """
    if estimate is None or np.isnan(estimate.value):
        return "-"
    digits = 1 if abs(estimate.value) >= 10 else 2
    return _with_interval(estimate, lambda value: f"{value:,.{digits}f}")


def _with_interval(estimate: Estimate, text: Callable[[float], str]) -> str:
    if estimate.low is None or estimate.high is None or np.isnan(estimate.low):
        return text(estimate.value)
    return f"{text(estimate.value)} [{text(estimate.low)}, {text(estimate.high)}]"


def _needed(arm: ArmFigures, axis: str) -> str:
    return "-" if axis == "expert_labels" and not arm.labels else amount(arm.needed[axis])


def _times(speed_up: SpeedUp) -> str:
    if np.isnan(speed_up.ratio):
        return "-"
    at_least = ">= " if 2 * speed_up.baseline_censored >= speed_up.seeds else ""
    ratio = Estimate(speed_up.ratio, speed_up.low, speed_up.high)
    return f"{at_least}{_with_interval(ratio, lambda value: f'{value:.2f}')}"
