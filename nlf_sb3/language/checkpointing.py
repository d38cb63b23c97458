"""Gradient checkpointing without dropout: transformers has its layers do the one only where they do the other."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch as th
from torch import nn

from nlf_sb3.errors import FeedbackError, require


def enable_checkpointing(causal_lm: Any, body: nn.Module, name: str) -> None:
    """
    :param causal_lm: A ``PreTrainedModel``
    :param body: What of it gives hidden states
    :param name: What the user called it
    :raises FeedbackError: If its layers can't
    """
    options = {"use_reentrant": False}
    try:
        if hasattr(causal_lm, "activation_checkpointing_enable"):  # transformers renamed it
            causal_lm.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
        else:
            causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    except ValueError as error:
        raise FeedbackError(f"gradient_checkpointing: {name!r} ({type(causal_lm).__name__}) has none: {error}") from error
    if not _layers(body):
        raise FeedbackError(
            f"gradient_checkpointing: the layers of {name!r} ({type(causal_lm).__name__}) know it only with dropout. "
            "Leave it out, or use another model."
        )


@contextlib.contextmanager
def checkpointed_layers(body: nn.Module) -> Iterator[None]:
    """
    While active, layers for which gradient checkpointing was switched on do it, in training mode or not.

    To transformers a layer of a model in training mode checkpoints and drops out. Here it says that it is in training
    mode until its forward pass begins, and is not during that pass.

    :param body: What gives hidden states
    """
    layers = [layer for layer in _layers(body) if not layer.training] if th.is_grad_enabled() else []
    if not layers:
        if th.is_grad_enabled() and not body.training and _is_asked_for(body):
            warnings.warn(
                f"Gradient checkpointing is switched on and does nothing: the layers of {type(body).__name__} know it "
                "only with dropout.",
                stacklevel=2,
            )
        yield
        return
    functions = [layer._gradient_checkpointing_func for layer in layers]
    # Reentrant checkpoints give gradients only where an input takes them, which a frozen embedding's output doesn't.
    hook = body.get_input_embeddings().register_forward_hook(_takes_gradients)  # type: ignore[operator]
    for layer, function in zip(layers, functions, strict=True):
        layer.training, layer._gradient_checkpointing_func = True, _without_training_mode(layer, function)
    try:
        yield
    finally:
        hook.remove()
        for layer, function in zip(layers, functions, strict=True):
            layer.training, layer._gradient_checkpointing_func = False, function


def _layers(body: nn.Module) -> list[Any]:
    kind = require("transformers.modeling_layers", "lm", "CausalLMPolicy").GradientCheckpointingLayer
    return [module for module in body.modules() if isinstance(module, kind) and module.gradient_checkpointing]


def _is_asked_for(body: nn.Module) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) is True for module in body.modules())


def _without_training_mode(layer: nn.Module, checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The function that checkpoints a layer, whose passes, the second one included, are those without training mode."""

    def checkpointed(forward: Callable[..., Any], *args: Any) -> Any:
        def quiet(*inputs: Any) -> Any:
            was_training, layer.training = layer.training, False
            try:
                return forward(*inputs)
            finally:
                layer.training = was_training

        return checkpoint(quiet, *args)

    return checkpointed


def _takes_gradients(module: nn.Module, args: Any, output: th.Tensor) -> None:
    if not output.requires_grad:
        output.requires_grad_(True)
