"""Entries that others put into infos by a key of this package."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXECUTED_ACTION_KEY
from nlf_sb3.infos import is_meant_as


class OthersEntries:
    """Leaves alone the entries of others by a key of this package, and warns once for each key."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def pass_over(self, env: int, step: int, key: str, value: Any, record: type) -> None:
        """
        :param env: Index of the environment
        :param step: Number of the step
        :param key: The key
        :param value: Its entry
        :param record: The class of this package's entries
        :raises FeedbackError: If it is a mistake rather than another library's entry
        """
        came = f"info[{key!r}] is {type(value).__name__}, expected nlf_sb3.{record.__name__}"
        if is_meant_as(value, record):
            raise FeedbackError(f"{came}. Build one from its parts.")
        if value is None or key in self._seen:
            return
        self._seen.add(key)
        warnings.warn(
            f"environment {env}, step {step}: {came}. It is taken for another library's, and teaches nothing. "
            f"If it is a person's, make it an nlf_sb3.{record.__name__}.",
            stacklevel=2,
        )

    def warn_of_unmarked(self, env: int, step: int, value: Any, shape: tuple[int, ...] | None) -> None:
        """
        Warn once that an entry which looks like an executed action counts as another library's.

        :param env: Index of the environment
        :param step: Number of the step
        :param value: The entry
        :param shape: Shape of an action
        """
        if EXECUTED_ACTION_KEY in self._seen or isinstance(value, (str, dict)) or np.shape(value) != shape:
            return
        self._seen.add(EXECUTED_ACTION_KEY)
        warnings.warn(
            f"environment {env}, step {step}: info[{EXECUTED_ACTION_KEY!r}] is taken for another library's, and the step "
            "for the agent's own. If somebody acted in the agent's place, mark it with "
            "info[nlf_sb3.TAKEOVER_KEY] = nlf_sb3.Takeover(action).",
            stacklevel=2,
        )
