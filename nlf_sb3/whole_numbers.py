"""Refuse what is no whole number, where an argument is one."""

from __future__ import annotations

import numbers
from typing import Any


def check_whole_number(name: str, value: Any, least: int) -> int:
    """
    :param name: Name of the argument, for the message
    :param value: What should be a whole number
    :param least: The least that it may be
    :return: The same
    :raises ValueError: Unless it is one of at least ``least``
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}.")
    return int(value)
