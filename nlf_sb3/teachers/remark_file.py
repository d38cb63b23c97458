"""What a person said about steps, with what it was read as: a line of JSON for each, in a file."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nlf_sb3.action_names import ActionNames
from nlf_sb3.appending import append_line
from nlf_sb3.feedback import Feedback
from nlf_sb3.teachers.teachers import Transition
from nlf_sb3.text.wording import RemarkReading, describe_action, describe_reading

_WHOLE = 64
"""Arrays of more numbers than that are told by their shape and range."""


def append_remark(
    path: str | Path,
    feedback: Feedback,
    transition: Transition,
    episode: int,
    names: ActionNames | None = None,
    reading: RemarkReading | None = None,
) -> None:
    """
    Add one line; it is on the disk when this returns. It is plain ASCII, whatever was typed.

    :param path: The file
    :param feedback: What was said
    :param transition: The step that it is about
    :param episode: The episode's number, from 0
    :param names: What the action's dimensions are called, if they have names
    :param reading: What the words are read as, if they were
    :raises OSError: If it can't be written
    """
    row: dict[str, Any] = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
        "episode": episode,
        "step": transition.step,
        "observation": plain(transition.observation),
        "action": plain(transition.action),
        "action_name": None if names is None else describe_action(names, transition.action),
        "text": feedback.text,
        "text_kind": feedback.text_kind,
        "score": feedback.score,
        "expert_action": plain(feedback.expert_action),
        "reading": None if names is None or reading is None else _reading(names, reading),
    }
    append_line(path, (json.dumps(row, allow_nan=False) + "\n").encode("ascii"))


def _reading(names: ActionNames, reading: RemarkReading) -> dict[str, Any]:
    corrections = reading.corrections
    return {
        "words": describe_reading(names, reading),
        "directions": plain(corrections.directions[0]),
        "size": plain(corrections.sizes[0]),
        "valence": plain(corrections.valences[0]),
        "confidence": plain(corrections.confidences[0]),
        "target": plain(reading.target),
        "weight": plain(reading.weight),
    }


def plain(value: Any) -> Any:
    """
    :param value: An observation or an action
    :return: JSON data: numbers that aren't finite as text, large arrays by their shape, dtype and range
    """
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value[:_WHOLE]]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return str(value)[:200]
    if array.size <= _WHOLE:
        return plain(array.tolist())
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "least": plain(array.min().item()),
        "greatest": plain(array.max().item()),
    }
