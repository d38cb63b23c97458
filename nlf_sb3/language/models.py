"""Causal language models of Hugging Face's transformers: loaded whole, or with an adapter on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch as th

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.language.adapters import base_model_of, is_adapter_folder, with_new_adapter, with_saved_adapter

TINY = "tiny"
"""Name of a small model that is made anew, with random weights."""


class LoadedModel(NamedTuple):
    """
    A language model, ready to train.

    :param causal_lm: The ``PreTrainedModel``
    :param language_model: The same, or the ``PeftModel`` around it
    :param trains: What trains: the whole model, a new adapter, or one that was saved
    :param own_weights: ``id`` of each parameter that the model had before any adapter
    """

    causal_lm: Any
    language_model: Any
    trains: Literal["whole", "new_adapter", "saved_adapter"]
    own_weights: frozenset[int]


def model_name(model: Any) -> str:
    """
    :param model: What the user passed
    :return: A folder, a name on the hub, or :data:`TINY`
    :raises FeedbackError: For a model that is loaded already, and anything else
    """
    if isinstance(model, (str, Path)):
        return str(model)
    raise FeedbackError(
        f"model: got an object of {type(model).__name__}, expected a folder or a name on the hub, which is saved in its place "
        "and finds it again. Call its save_pretrained(folder), and pass that folder."
    )


def load_model(
    name: str, lora: dict[str, Any] | None, *, n_tokens: int, context_length: int, gguf_file: str | None, seed: int
) -> LoadedModel:
    """
    :param name: Folder, name on the hub, or :data:`TINY`; of a model, or of an adapter
    :param lora: Of a new adapter; of a saved one what it has to have; None for none, or for a saved one as it is
    :param n_tokens: Size of the vocabulary that is needed
    :param context_length: Tokens that it has to see at once
    :param gguf_file: Name of a GGUF file in the folder or on the hub
    :param seed: Of a model with random weights
    :return: The model, of float32
    :raises FeedbackError: If it can't be loaded, if nothing of it would train, or if it is too small
    """
    is_saved = name != TINY and is_adapter_folder(name)
    causal_lm: Any = None if is_saved else _load_causal_lm(name, n_tokens, context_length, gguf_file, seed)
    if is_saved or _holds_adapter(causal_lm):  # a name on the hub may turn out to be an adapter's
        is_saved, base = True, base_model_of(name)
        causal_lm = None if is_adapter_folder(base) else _load_causal_lm(base, n_tokens, context_length, gguf_file, seed)
        if causal_lm is None or _holds_adapter(causal_lm):
            raise FeedbackError(
                f"model: {name!r} is an adapter on {base!r}, which is an adapter itself. Merge that one into its model."
            )
    own = frozenset(map(id, causal_lm.parameters()))
    if is_saved:
        loaded = LoadedModel(causal_lm, with_saved_adapter(causal_lm, name, lora), "saved_adapter", own)
    elif lora is not None:
        loaded = LoadedModel(causal_lm, with_new_adapter(causal_lm, lora, name), "new_adapter", own)
    else:
        loaded = LoadedModel(causal_lm, causal_lm, "whole", own)
    if not any(parameter.requires_grad for parameter in loaded.language_model.parameters()):
        raise FeedbackError(
            f"model: nothing of {name!r} ({type(causal_lm).__name__}) would train: none of its weights takes gradients. "
            "Pass lora={'r': 8} without inference_mode, or a model that isn't frozen."
        )
    return loaded


def longest_context(config: Any) -> int | None:
    """
    :param config: Of a model
    :return: How many tokens it can see at once; None for any number
    """
    for key in ("max_position_embeddings", "max_seq_len"):
        longest = getattr(config, key, None)
        if isinstance(longest, int) and longest > 0:
            return longest
    return None


def _load_causal_lm(name: str, n_tokens: int, context_length: int, gguf_file: str | None, seed: int) -> Any:
    transformers = require("transformers", "lm", "CausalLMPolicy")
    if name == TINY:
        return _tiny(transformers, n_tokens, context_length, seed)
    options = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options)
    except ImportError:  # it names the package
        raise
    except Exception as error:  # of files as of weights of other shapes
        kind = "a folder" if Path(name).is_dir() else "neither a folder nor a name that could be found on the hub,"
        why = str(error).partition("Model type should be one of")[0].strip()  # hundreds of names
        raise FeedbackError(
            f"model: {name!r} is {kind} from which no causal language model could be loaded: {why:.500}\nPass the folder "
            "that its save_pretrained wrote."
        ) from error
    missing = sorted(loading["missing_keys"])
    if missing and gguf_file is None:
        raise FeedbackError(
            f"model: {name!r} has no weights for {', '.join(missing[:5])} of a {type(model).__name__}, which would begin at "
            "random. Pass a model that was saved as a causal language model."
        )
    if model.dtype != th.float32:  # what came from a GGUF file is, and refuses to be cast
        model = model.float()
    if model.config.vocab_size < n_tokens:
        raise FeedbackError(
            f"model: {name!r} has {model.config.vocab_size} tokens, and the environment's tokenizer {n_tokens}. Use its own."
        )
    longest = longest_context(model.config)
    if longest is not None and longest < context_length:
        raise FeedbackError(
            f"context_length: got {context_length}, expected at most {longest}, which is what {name!r} can see."
        )
    return model


def _holds_adapter(causal_lm: Any) -> bool:
    """Whether transformers itself has put a frozen adapter into a model."""
    return bool(getattr(causal_lm, "_hf_peft_config_loaded", False))


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
