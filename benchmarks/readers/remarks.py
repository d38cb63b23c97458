"""Remarks with what their speakers want, from files like those in ``tests/data/remarks``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from nlf_sb3.teachers import SpeakingTeacher, Transition
from nlf_sb3.text import ActionNames, Dimension

CART = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("push", low="left", high="right")])
ARM = ActionNames(
    spaces.Box(-1, 1, (2,)),
    [Dimension("arm", low="down", high="up"), Dimension("gripper", low=("close", "closed"), high=("open", "opened"))],
)
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "down": (0, -1), "up": (0, 1), "close": (1, -1), "open": (1, 1)}
_OF_THE_ARM = {"up", "down", "open", "close", "none-arm"}


class Spoken(NamedTuple):
    """
    A remark.

    :param text: What was said
    :param names: What its words are about, :data:`CART` or :data:`ARM`
    :param taken: The action that it was said about
    :param wanted: The direction wanted of each dimension: 1, -1, or 0 for none
    :param kind: ``"direction"``, ``"praise"``, ``"blame"`` or ``"none"``
    :param family: What makes it hard to read
    """

    text: str
    names: ActionNames
    taken: np.ndarray
    wanted: np.ndarray
    kind: str
    family: str


def load(path: Path) -> list[Spoken]:
    """
    :param path: A file with one remark a line, as ``tests/data/remarks/README.md`` describes it
    :return: Its remarks
    """
    return [_spoken(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _spoken(row: dict[str, str]) -> Spoken:
    wants = [row["want"]] if isinstance(row["want"], str) else row["want"]
    names = ARM if _OF_THE_ARM & set(wants) else CART
    taken, wanted = np.zeros(names.n_dimensions), np.zeros(names.n_dimensions)
    for want in wants:
        if want in DIRECTIONS:
            dimension, direction = DIRECTIONS[want]
            wanted[dimension], taken[dimension] = direction, -0.5 * direction
    if row.get("taken"):
        dimension, direction = DIRECTIONS[row["taken"]]
        taken[dimension] = 0.5 * direction
    kind = "direction" if wants[0] in DIRECTIONS else wants[0].removesuffix("-arm")
    return Spoken(row["text"], names, taken, wanted, kind, row["family"])


def of_a_teacher(n_each: int = 150) -> Iterator[Spoken]:
    """
    :param n_each: Remarks about the actions of each of the two sets of names
    :return: What :class:`~nlf_sb3.teachers.SpeakingTeacher` says that asks for a direction
    """
    rng = np.random.default_rng(0)
    for names in (CART, ARM):
        teacher = SpeakingTeacher(lambda observations: observations, names, kinds=("hn", "fp", "fn"))
        for step in range(n_each):
            expert, taken = np.zeros(names.n_dimensions), np.zeros(names.n_dimensions)
            dimension, direction = int(rng.integers(names.n_dimensions)), float(rng.choice([-1, 1]))
            expert[dimension], taken[dimension] = direction, -direction * rng.uniform(0.1, 1)
            feedback = teacher(Transition(expert, taken, 0.0, expert, False, False, {}, step))
            if feedback is not None and feedback.text is not None:
                yield Spoken(feedback.text, names, taken, np.sign(expert), "direction", "teacher")
