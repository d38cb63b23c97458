"""Checks of single fields, for dataclasses of settings. Their messages name the class and the field."""

from __future__ import annotations

import math
import numbers
from typing import Any


def check_choice(settings: Any, field: str, choices: tuple[str, ...]) -> None:
    """
    :param settings: The object
    :param field: Name of the field
    :param choices: The strings that it may be
    :raises ValueError: If it is anything else
    """
    value = getattr(settings, field)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{_got(settings, field)}, expected one of {', '.join(map(repr, choices))}.")


def check_flag(settings: Any, field: str) -> None:
    """
    :param settings: The object
    :param field: Name of the field
    :raises ValueError: If it is neither True nor False
    """
    if not isinstance(getattr(settings, field), bool):
        raise ValueError(f"{_got(settings, field)}, expected True or False.")


def check_number(settings: Any, field: str, *, above_zero: bool = False) -> None:
    """
    The field becomes a float of Python, so that it is saved as plain data.

    :param settings: The object, which may be frozen
    :param field: Name of the field
    :param above_zero: Whether 0 is refused too
    :raises ValueError: If it is not a finite number of at least 0
    """
    value = getattr(settings, field)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (above_zero and value == 0):
        raise ValueError(f"{_got(settings, field)}, expected a finite number {'above' if above_zero else 'of at least'} 0.")
    object.__setattr__(settings, field, float(value))


def _got(settings: Any, field: str) -> str:
    return f"{type(settings).__name__}.{field}: got {getattr(settings, field)!r}"
