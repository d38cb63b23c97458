"""Every error type that nlf_sb3 raises on purpose."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any


class FeedbackError(ValueError):
    """Feedback, a label or an expert's answer that can't be used as it came."""


class RecordsError(FeedbackError):
    """
    Lines of a file that are no records.

    :param message: What is wrong, and where
    :param problems: Every line that is none, with its number and reason
    """

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class ActionShapeError(FeedbackError):
    """Actions that aren't one row for each observation."""


def add_hint(error: Exception, hint: str) -> None:
    """
    Add to what an error says, as ``add_note`` does from Python 3.11 on.

    :param error: The error
    :param hint: A sentence
    """
    if hint not in hints_of(error):  # the same error may be raised again
        error.__notes__ = [*hints_of(error), hint]  # type: ignore[attr-defined]


def hints_of(error: Exception) -> list[str]:
    """
    :param error: An error
    :return: What :func:`add_hint` added
    """
    return list(getattr(error, "__notes__", []))


class TwinError(RuntimeError):
    """An environment that can't be twinned, or a twin that left its original."""


class MissingExtraError(ImportError):
    """An optional package that isn't installed; the message names the extra that brings it."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """
    Import an optional module, or say which extra brings it.

    :param module: The module's import name
    :param extra: The extra of this package that installs it
    :param purpose: What needs the module, as the start of a sentence
    :return: The imported module
    :raises MissingExtraError: If the module can't be imported
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {module.split(".")[0]}, which is not installed. Install it with: pip install "nlf-sb3[{extra}]"'
        ) from error
