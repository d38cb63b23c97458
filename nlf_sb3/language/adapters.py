"""Adapters of peft: new ones on a model, and saved ones that training goes on with."""

from __future__ import annotations

import contextlib
import copy
import warnings
from pathlib import Path
from typing import Any

import torch as th

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.language.lora_settings import CAUSAL_LM, differences

_CONFIG = "adapter_config.json"
_CHANGE_THE_MODEL = {
    "layer_replication": "Leave layer_replication out, which repeats its layers.",
    "init_lora_weights": "Leave init_lora_weights out, which rewrites its weights, or pass 'gaussian'.",
}
"""Settings by which peft may do so, each with how to mend that."""


def is_adapter_folder(name: str) -> bool:
    """
    :param name: Folder, or name on the hub
    :return: Whether it is a folder, and an adapter lies there instead of a whole model
    :raises FeedbackError: For a folder of several adapters
    """
    folder = Path(name)
    if (folder / _CONFIG).is_file():
        return True
    inside = sorted(str(file.parent) for file in folder.glob(f"*/{_CONFIG}"))
    if inside and not (folder / "config.json").is_file() and not any(folder.glob("*.gguf")):
        raise FeedbackError(f"model: {name!r} holds adapters in its folders. Pass one of them: {', '.join(inside)}.")
    return False


def base_model_of(name: str) -> str:
    """
    :param name: Folder, or name on the hub, of an adapter
    :return: Where the model is that it was trained on
    :raises FeedbackError: If the adapter doesn't say so, or if that folder is gone
    """
    base = _config_of(name).base_model_name_or_path
    how = f"Write its folder or name as base_model_name_or_path into {_CONFIG}."
    if not base:
        raise FeedbackError(f"model: {name!r} is an adapter that doesn't say which model it was trained on. {how}")
    for folder in (Path(base), Path(name) / base, Path(name).parent / base):
        if folder.exists():
            return str(folder)
    if Path(base).is_absolute() or base.startswith(".") or base.count("/") > 1:
        raise FeedbackError(f"model: {name!r} is an adapter on the model {base!r}, which is not there. {how}")
    return str(base)


def with_new_adapter(model: Any, settings: dict[str, Any], name: str) -> Any:
    """
    :param model: A ``PreTrainedModel``; it is changed
    :param settings: Of :func:`~nlf_sb3.language.lora_settings.lora_settings`
    :param name: What the user called the model
    :return: A ``PeftModel`` of which only the adapter trains
    :raises FeedbackError: If they don't fit each other, or if the adapter would change the model beneath it
    """
    peft = require("peft", "lm", "CausalLMPolicy with lora=")
    before = _logits(model)
    try:
        adapted = peft.get_peft_model(model, peft.LoraConfig(**{**settings, "task_type": CAUSAL_LM}))
    except Exception as error:
        raise FeedbackError(
            f"lora: {settings} doesn't fit {name!r} ({type(model).__name__}): {error} Its linear layers are "
            f"{', '.join(_linear_layers(model))}."
        ) from error
    with adapted.disable_adapter():
        after = _logits(model)
    if not th.allclose(before, after, atol=1e-5):
        mend = next((text for key, text in _CHANGE_THE_MODEL.items() if settings.get(key)), "Leave out what does so.")
        raise FeedbackError(
            f"lora: {settings} changes {name!r} itself, beneath the adapter. Neither a saved adapter nor a reference would "
            f"then be right. {mend}"
        )
    return adapted


def with_saved_adapter(model: Any, name: str, settings: dict[str, Any] | None) -> Any:
    """
    :param model: The ``PreTrainedModel`` that the adapter was trained on; it is changed
    :param name: Folder, or name on the hub, of the adapter
    :param settings: What it has to have; None for anything
    :return: A ``PeftModel`` of which only the adapter trains, from where it was
    :raises FeedbackError: If it has other settings, doesn't fit, or is of a kind that only whole passes know
    """
    peft = require("peft", "lm", "A saved adapter")
    config = _config_of(name)
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    _check_goes_on(name, config, kind)
    if settings is not None:
        if not isinstance(config, peft.LoraConfig):
            raise FeedbackError(
                f"lora: {name!r} is an adapter of kind {kind} and not of LoRA. Leave lora out to go on with it."
            )
        others = differences(settings, _made_for(model, settings), config)
        if others:
            raise FeedbackError(
                f"lora: {name!r} is a saved adapter whose {'; whose '.join(others)}. Leave lora out to go on with it as it "
                "is, or pass the model that it was trained on as model to begin anew."
            )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")  # they would begin anew
            return peft.PeftModel.from_pretrained(model, name, is_trainable=True)
    except Exception as error:
        raise FeedbackError(
            f"model: the adapter {name!r} doesn't fit the model that it names, {config.base_model_name_or_path!r} "
            f"({type(model).__name__}): {error}"
        ) from error


def _check_goes_on(name: str, config: Any, kind: str) -> None:
    """Raise for adapters that training can't go on with."""
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise FeedbackError(f"model: {name!r} is an adapter of kind {kind}, which puts tokens before the text. Use LoRA.")
    task = config.task_type
    task = None if task is None else str(getattr(task, "value", task))
    if task not in (None, CAUSAL_LM):
        raise FeedbackError(f"model: {name!r} is an adapter for the task {task}, expected one for {CAUSAL_LM}.")
    if getattr(config, "alora_invocation_tokens", None):
        raise FeedbackError(f"model: {name!r} is an adapter whose effect depends on the prompt (aLoRA). Use LoRA.")
    if getattr(config, "lora_alpha", None) == 0:
        raise FeedbackError(f"model: {name!r} is an adapter with lora_alpha 0, which does nothing and never would.")
    if Path(name).is_dir() and not any(Path(name).glob("adapter_model.*")):
        raise FeedbackError(f"model: {name!r} has an {_CONFIG} and no adapter_model.safetensors. Save it anew.")


def folder_of_tokenizer(name: str) -> str:
    """
    :param name: Folder, or name on the hub, of a model or an adapter
    :return: Where its tokenizer lies: there, or with the model that the adapter was trained on
    """
    folder = Path(name)
    has_one = any((folder / file).is_file() for file in ("tokenizer_config.json", "tokenizer.json", "tokenizer.model"))
    return base_model_of(name) if not has_one and is_adapter_folder(name) else name


def _config_of(name: str) -> Any:
    peft = require("peft", "lm", "A saved adapter")
    try:
        return peft.PeftConfig.from_pretrained(name)
    except Exception as error:
        raise FeedbackError(f"model: the adapter {name!r} can't be loaded: {error}") from error


def _made_for(model: Any, settings: dict[str, Any]) -> Any:
    """What peft makes of settings for a model: it puts names of layers in the place of "all-linear", and more such."""
    peft = require("peft", "lm", "A saved adapter")
    config = peft.LoraConfig(**{**copy.deepcopy(settings), "init_lora_weights": True, "task_type": CAUSAL_LM})
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # settings that don't fit stay what they are
        warnings.simplefilter("ignore")
        with th.device("meta"):
            peft.get_peft_model(type(model)(copy.deepcopy(model.config)), config)
    return config


@th.no_grad()
def _logits(model: Any) -> th.Tensor:
    was_training = model.training
    model.eval()
    logits: th.Tensor = model(input_ids=th.arange(1, 5, device=model.device)[None], use_cache=False).logits
    model.train(was_training)
    return logits


def _linear_layers(model: Any) -> list[str]:
    """Names that ``target_modules`` could have."""
    kinds = ("Linear", "Conv1D")
    return sorted({name.split(".")[-1] for name, module in model.named_modules() if type(module).__name__ in kinds})
