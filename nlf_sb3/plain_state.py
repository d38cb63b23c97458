"""Dataclasses as plain data and back, for what is saved with a model: it has to load where nlf_sb3 isn't installed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T", bound=type)

_CLASSES: dict[str, type] = {}
_NAME = "nlf_sb3_class"


def saved_as_plain_state(cls: T) -> T:
    """
    Class decorator: instances of this dataclass are saved by the values of their fields.

    :param cls: A dataclass whose fields hold plain data, or other such instances
    :return: The same class
    """
    _CLASSES[cls.__name__] = cls
    return cls


def to_plain(value: Any) -> Any:
    """
    :param value: Anything; lists and tuples are searched
    :return: Dicts of plain data in the place of instances of classes under :func:`saved_as_plain_state`
    """
    if is_dataclass(value) and _CLASSES.get(type(value).__name__) is type(value):
        return {_NAME: type(value).__name__, **{spec.name: to_plain(getattr(value, spec.name)) for spec in fields(value)}}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(state: Any) -> Any:
    """
    The inverse of :func:`to_plain`; what was a tuple comes back as a list.

    :param state: What it returned
    :return: The instances
    :raises ValueError: If the state is of a class that this version doesn't have
    """
    if isinstance(state, list):
        return [from_plain(item) for item in state]
    if not isinstance(state, dict) or _NAME not in state:
        return state
    values = {name: from_plain(value) for name, value in state.items() if name != _NAME}
    cls: Any = _CLASSES.get(state[_NAME])
    if cls is None:
        raise ValueError(f"The model was saved with a {state[_NAME]}, which this version of nlf_sb3 doesn't have.")
    instance = cls(**{spec.name: values[spec.name] for spec in fields(cls) if spec.init and spec.name in values})
    for spec in fields(cls):
        if not spec.init and spec.name in values:
            setattr(instance, spec.name, values[spec.name])
    return instance
