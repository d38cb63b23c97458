"""What a user says of LoRA: arguments of peft's LoraConfig, checked by name, as plain data that is saved with a model."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import enum
from collections.abc import Mapping
from typing import Any

from nlf_sb3.errors import FeedbackError, require

CAUSAL_LM = "CAUSAL_LM"
_BOOKKEEPING = frozenset(
    {"task_type", "inference_mode", "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "peft_type"}
)
"""Settings that say nothing of an adapter's weights and what they do."""
_COMMON_SLIPS = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}


def lora_settings(lora: Any) -> dict[str, Any] | None:
    """
    :param lora: Arguments of peft's ``LoraConfig``, or one
    :return: The arguments as plain data; None for None
    :raises FeedbackError: For anything else, for settings that peft doesn't know, and for other tasks
    """
    if lora is None:
        return None
    peft = require("peft", "lm", "CausalLMPolicy with lora=")
    if isinstance(lora, peft.LoraConfig):
        settings = _without_defaults(lora)
    elif isinstance(lora, Mapping):
        settings = copy.deepcopy(dict(lora))
    else:
        raise FeedbackError(
            f"lora: got {lora!r:.80}, expected a dict of arguments of peft's LoraConfig, such as {{'r': 8}}, or a LoraConfig. "
            "None trains the whole model."
        )
    known = [field.name for field in dataclasses.fields(peft.LoraConfig) if field.init]
    for name in settings:
        if name not in known:
            near = _COMMON_SLIPS.get(name) or " or ".join(difflib.get_close_matches(str(name), known, 3, 0.5)) or "r"
            raise FeedbackError(f"lora: {name!r} is no setting of peft's LoraConfig. Did you mean {near}?")
    task = settings.get("task_type")
    if task is not None and str(getattr(task, "value", task)) != CAUSAL_LM:
        raise FeedbackError(f"lora: got task_type {task!r}, expected {CAUSAL_LM!r}, or none.")
    if settings.get("lora_alpha") == 0:
        raise FeedbackError("lora: got lora_alpha 0, expected another number: it scales what the adapter does.")
    if settings.get("alora_invocation_tokens"):
        raise FeedbackError(
            "lora: alora_invocation_tokens is not supported: what it does depends on the prompt. Leave it out."
        )
    return {name: _plain(value) for name, value in settings.items()}


def differences(settings: dict[str, Any], wanted: Any, saved: Any) -> list[str]:
    """
    :param settings: Of :func:`lora_settings`
    :param wanted: The ``LoraConfig`` that they are on the model
    :param saved: A saved adapter's
    :return: For each setting that is another one there, a phrase
    """
    found = []
    for name in settings:
        if name in _BOOKKEEPING or name == "init_lora_weights":  # where it began is over
            continue
        asked, has = (_sorted(getattr(config, name)) for config in (wanted, saved))
        if asked != has:
            found.append(f"{name} is {has!r}, and not {asked!r}")
    return found


def _without_defaults(config: Any) -> dict[str, Any]:
    """Those of a config's arguments that aren't the default."""
    default = type(config)()
    names = [field.name for field in dataclasses.fields(config) if field.init]
    values = {name: copy.deepcopy(getattr(config, name, getattr(default, name))) for name in names}
    dropped = _BOOKKEEPING - {"inference_mode", "task_type"}
    return {name: value for name, value in values.items() if name not in dropped and value != getattr(default, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return _sorted(value) if isinstance(value, (set, frozenset)) else value


def _sorted(value: Any) -> Any:
    """A collection of names in one order, whatever its type."""
    return sorted(value, key=str) if isinstance(value, (set, frozenset, list, tuple)) else value
