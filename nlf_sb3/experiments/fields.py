"""Fields of an algorithm's objects as they stand on the command line: ``injection.coef=0.5``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

from nlf_sb3.config import Imitation, Injection, LabelReplay, as_imitation, as_injection
from nlf_sb3.schedules import TrainingPhases

_OF_REPLAY = tuple(f"imitation.replay.{spec.name}" for spec in fields(LabelReplay))
_NO_PLAIN_VALUE = ("imitation.weights", "imitation.replay", "phases.otherwise")
"""Fields whose values are objects."""


def field_names(arguments: Collection[str]) -> set[str]:
    """
    >>> sorted(field_names(["imitation"]))[:3]
    ['imitation.loss', 'imitation.mode_trains_std', 'imitation.replay.capacity']

    :param arguments: Names of an algorithm's arguments
    :return: Names of the fields of those that are objects, after the argument's name and a dot
    """
    classes = {"imitation": Imitation, "injection": Injection, "phases": TrainingPhases}
    names = {f"{name}.{spec.name}" for name, cls in classes.items() if name in arguments for spec in fields(cls)}
    return (names | set(_OF_REPLAY if "imitation" in arguments else ())) - set(_NO_PLAIN_VALUE)


def with_fields(arguments: dict[str, Any]) -> dict[str, Any]:
    """
    Put values of fields into the objects that the fields belong to.

    >>> with_fields({"n_steps": 8, "injection": "plain", "injection.vf_coef": 0.5})["injection"].vf_coef
    0.5

    :param arguments: An algorithm's arguments, and names of :func:`field_names` with their values
    :return: The algorithm's arguments
    :raises ValueError: If a value is not one that the field can have
    """
    result = {name: value for name, value in arguments.items() if "." not in name}
    given: dict[str, dict[str, Any]] = {}
    for name, value in arguments.items():
        owner, dot, field = name.rpartition(".")
        if dot:
            given.setdefault(owner, {})[field] = value
    of_replay = given.pop("imitation.replay", {})
    if of_replay:
        given.setdefault("imitation", {})["replay"] = _replay(as_imitation(result.get("imitation", "nll")).replay, of_replay)
    for owner, values in given.items():
        result[owner] = replace(_object(owner, result.get(owner)), **values)
    return result


def _object(name: str, value: Any) -> Any:
    """The object that an argument stands for."""
    if name == "phases":
        return TrainingPhases() if value is None else value
    read: Any = as_imitation if name == "imitation" else as_injection
    return read({"imitation": "nll", "injection": "bounded"}[name] if value is None else value)


def _replay(before: LabelReplay | None, values: dict[str, Any]) -> LabelReplay:
    if before is None and "capacity" not in values:
        raise ValueError("imitation.replay.capacity: got none, expected the number of labels to keep, such as 10000.")
    return LabelReplay(**values) if before is None else replace(before, **values)
