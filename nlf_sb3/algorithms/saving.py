"""Arguments and state of feedback as plain data in one entry of a saved model, which SB3's own classes can load too."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from nlf_sb3.config import as_imitation
from nlf_sb3.plain_state import from_plain, to_plain
from nlf_sb3.schedules import as_schedule, own_copy, schedule_from_state, schedule_to_state

STATE_KEY = "nlf_sb3"
"""The entry of a saved model."""
_VALUES = ("max_expert_queries", "on_error", "log_gradients")
_OBJECTS = ("imitation", "injection", "phases")
"""Dataclasses. They are saved by the values of their fields."""


def plain_state(model: Any) -> dict[str, Any]:
    """
    :param model: The algorithm's model
    :return: Its arguments of feedback that can be saved, and the state of its parts
    """
    return {
        "alpha": schedule_to_state(as_schedule(model.alpha)),
        **{name: getattr(model, name) for name in _VALUES},
        **{name: to_plain(getattr(model, name)) for name in _OBJECTS},
        "state": model.feedback.state_dict(),
    }


def restore(model: Any, saved: dict[str, Any] | None, given: Container[str]) -> None:
    """
    Give a loaded model its arguments and state of feedback.

    :param model: The model, as SB3 loaded it
    :param saved: As :func:`plain_state` returned it; None for a model that SB3 saved
    :param given: Names of arguments that the user gave to ``load``. They stay as they are.
    """
    if saved is not None:
        if "alpha" not in given:
            model.alpha = schedule_from_state(saved["alpha"])
        for name in (*_VALUES, *_OBJECTS):
            if name in saved and name not in given:  # earlier versions saved fewer
                setattr(model, name, from_plain(saved[name]))
        if "state" in saved:
            model.feedback.load_state_dict(saved["state"])
    model.alpha, model.imitation = own_copy(model.alpha), copy.deepcopy(as_imitation(model.imitation))
    model.feedback.check_settings()
