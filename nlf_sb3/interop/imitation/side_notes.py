"""What our records hold and imitation's have no field for: it travels in the infos, under one key."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlf_sb3.errors import FeedbackError

KEY = "nlf_sb3"
"""
Key of an info that holds these notes: ``action_mask`` and ``weight`` of the action taken there, its ``label``,
``expert_log_prob`` and its episode's ``fork_step``. Plain Python values, so that imitation's
serialiser writes them and reads them back.
"""


TIME_LIMIT = "TimeLimit.truncated"
"""SB3's key in the last info of an episode that a time limit ended."""


def put(infos: list[dict[str, Any]], name: str, values: Any) -> None:
    """
    :param infos: One info for each step, changed in place
    :param name: Name of the note
    :param values: One value for each step, an array or a list
    """
    for info, value in zip(infos, np.asarray(values).tolist(), strict=True):
        info.setdefault(KEY, {})[name] = value


def take(infos: Any, name: str) -> np.ndarray | None:
    """
    :param infos: One info for each step, or None
    :param name: Name of the note
    :return: Its values, one for each step, or None if no step has one
    :raises FeedbackError: If only some steps have one
    """
    if infos is None:
        return None
    notes = [info.get(KEY, {}) for info in infos]
    present = [name in note for note in notes]
    if not any(present):
        return None
    if not all(present):
        raise FeedbackError(
            f"infos: {sum(present)} of {len(notes)} steps have a note {name!r} under {KEY!r}, expected all or none. "
            "Convert records with it and records without it apart."
        )
    return np.asarray([note[name] for note in notes])
