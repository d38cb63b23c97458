"""Causal language models of Hugging Face's transformers: loaded, adapted with LoRA, and taken apart into body and head."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch as th
from torch import nn

from nlf_sb3.errors import require

TINY = "tiny"
"""Name of a small model that is made anew, with random weights."""


def load_causal_lm(name: str, *, n_tokens: int, context_length: int, gguf_file: str | None, seed: int) -> Any:
    """
    :param name: Folder, name on the hub, or :data:`TINY`
    :param n_tokens: Size of the vocabulary that is needed
    :param context_length: Tokens that it has to see at once
    :param gguf_file: Name of a GGUF file in the folder or on the hub
    :param seed: Of a model with random weights
    :return: A ``PreTrainedModel`` of float32
    :raises ValueError: If its vocabulary or its context is too small
    """
    transformers = require("transformers", "lm", "CausalLMPolicy")
    if name == TINY:
        return _tiny(transformers, n_tokens, context_length, seed)
    options = {} if gguf_file is None else {"gguf_file": gguf_file}
    model = transformers.AutoModelForCausalLM.from_pretrained(name, **options)
    if model.dtype != th.float32:  # what came from a GGUF file is, and refuses to be cast
        model = model.float()
    if model.config.vocab_size < n_tokens:
        raise ValueError(
            f"model: {name!r} has {model.config.vocab_size} tokens, and the environment's tokenizer {n_tokens}. Use its own."
        )
    longest = getattr(model.config, "max_position_embeddings", context_length)
    if longest < context_length:
        raise ValueError(f"context_length: got {context_length}, expected at most {longest}, which is what {name!r} can see.")
    return model


def _tiny(transformers: Any, n_tokens: int, context_length: int, seed: int) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=max(context_length, 2),
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    with th.random.fork_rng(devices=[]):
        th.manual_seed(seed)
        return transformers.LlamaForCausalLM(config)


def with_lora(model: Any, config: dict[str, Any]) -> Any:
    """
    :param model: A ``PreTrainedModel``; it is changed
    :param config: Arguments of peft's ``LoraConfig``
    :return: A ``PeftModel`` of which only the adapter trains
    """
    peft = require("peft", "lm", "CausalLMPolicy with lora=")
    return peft.get_peft_model(model, peft.LoraConfig(**{"task_type": "CAUSAL_LM", **copy.deepcopy(config)}))


_SCALE_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class BodyAndHead:
    """
    A causal LM as what gives hidden states, and what makes logits of them.

    :param model: A ``PreTrainedModel`` with a head
    :param name: What the user called it
    :raises ValueError: If its logits are more than its head's outputs
    """

    def __init__(self, model: Any, name: str) -> None:
        self.body: nn.Module = model.base_model
        self.head: nn.Module = model.get_output_embeddings()
        # transformers renamed the argument.
        names = inspect.signature(type(self.body).forward).parameters
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        self._check(model, name)

    @property
    def hidden_size(self) -> int:
        """Size of the last hidden state."""
        return int(self.head.weight.shape[1])  # type: ignore[arg-type, index, union-attr]

    def hidden(self, tokens: th.Tensor) -> th.Tensor:
        """
        :param tokens: Padded at the right, ``[S, T]``; what stands there is not seen by what stands before
        :return: Last hidden states, ``[S, T, hidden_size]``
        """
        return self.body(input_ids=tokens, use_cache=False).last_hidden_state  # type: ignore[no-any-return]

    def hidden_with_cache(
        self, tokens: th.Tensor, cache: Any, mask: th.Tensor | None = None, positions: th.Tensor | None = None
    ) -> th.Tensor:
        """
        :param tokens: What follows on what the cache holds, ``[B, T]``
        :param cache: Gets their keys and values
        :param mask: Which places of cache and tokens are seen, ``[B, S + T]``; None for all
        :param positions: Each token's position, ``[B, T]``; None if the cache has no gap
        :return: Last hidden states, ``[B, T, hidden_size]``
        """
        inputs = {"attention_mask": mask, "position_ids": positions, self._cache_name: cache}
        return self.body(input_ids=tokens, use_cache=True, **inputs).last_hidden_state  # type: ignore[no-any-return]

    def _check(self, model: Any, name: str) -> None:
        scaled = [key for key in _SCALE_LOGITS if getattr(model.config, key, None) not in (None, 1.0)]
        tokens = th.zeros((1, 2), dtype=th.long, device=model.device)
        was_training = model.training
        model.eval()
        with th.no_grad():
            same = th.allclose(model(input_ids=tokens, use_cache=False).logits, self.head(self.hidden(tokens)), atol=1e-4)
        model.train(was_training)
        if scaled or not same:
            raise ValueError(
                f"model: {name!r} does more to its logits than its output layer (as some models scale or cap them), which "
                "CausalLMPolicy doesn't know. Use another model."
            )
