"""The return that arms are to reach in an environment: a number, or a part of an expert's return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlf_sb3.experiments.compare.evaluation import Evaluator
from nlf_sb3.experiments.compare.experts import expert_return, make_expert

_DEFAULT = "95%"
_SEED = 0


@dataclass(frozen=True)
class Threshold:
    """
    A return to reach.

    :param value: The return
    :param meaning: Where it comes from, in words
    """

    value: float
    meaning: str


def find_threshold(text: str | None, env_id: str, expert: str | None, n_episodes: int) -> Threshold | None:
    """
    :param text: ``--threshold``: a number or a percentage; None for 95% of the expert's return
    :param env_id: Gymnasium's id of the environment
    :param expert: Name of the expert; None if there is none
    :param n_episodes: Episodes that measure its return, where that isn't known
    :return: The threshold; None if it was left out and there is no expert
    :raises ValueError: For any other text, or a percentage without an expert
    """
    if text is None and expert is None:
        return None
    text = text or _DEFAULT
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"--threshold: got {text!r}, expected a return such as 475, or a part of the expert's such as 95%.")
    if not text.endswith("%"):
        return Threshold(number, "as asked for")
    if expert is None:
        raise ValueError(f"--threshold {text}: there is no --expert whose return it is a part of. Pass a number, or --expert.")
    whole = _return_of(env_id, expert, n_episodes)
    return Threshold(part_of(whole, number / 100), f"{text} of the return of the expert {expert}, {whole:,.1f}")


def part_of(whole: float, part: float) -> float:
    """
    >>> part_of(500.0, 0.75), part_of(-200.0, 0.75)
    (375.0, -250.0)

    :param whole: A return, of either sign
    :param part: Which part of it; below 1 is always the easier
    :return: The return that is this part of it
    """
    return whole - (1 - part) * abs(whole)


def _return_of(env_id: str, expert: str, n_episodes: int) -> float:
    known = expert_return(env_id, expert)
    if known is not None:
        return known
    teacher = make_expert(env_id, expert, _SEED)
    evaluator = Evaluator(env_id, _SEED, n_episodes)
    returns = evaluator.returns(lambda observations, deterministic: (teacher.act(observations), None))
    evaluator.close()
    return float(returns.mean())
