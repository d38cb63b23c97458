"""What an arm is: one way to learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nlf_sb3.experiments.compare.task import Task


@dataclass(frozen=True)
class Arm:
    """
    One way to learn.

    :param name: Its name on the command line and in every file
    :param description: What it is, in a sentence
    :param train: Trains an agent as the task says, which reports to ``task.recorder``
    :param needs_expert: Whether ``task.expert`` has to be there
    :param arguments: Names that ``task.arguments`` may have; None leaves it to ``train`` to refuse others
    :param samples_expert: Whether an expert that has a distribution acts with samples of it, not with its mode
    """

    name: str
    description: str
    train: Callable[[Task], None]
    needs_expert: bool
    arguments: frozenset[str] | None = None
    samples_expert: bool = False
