"""A causal LM taken apart: the body gives hidden states, the head makes logits of them."""

from __future__ import annotations

import inspect
from typing import Any

import torch as th
from torch import nn

from nlf_sb3.language.checkpointing import checkpointed_layers


class BodyAndHead:
    """
    A causal LM as what gives hidden states, and what makes logits of them.

    :param model: A ``PreTrainedModel`` with a head
    """

    def __init__(self, model: Any) -> None:
        base = model.base_model
        self.body: nn.Module = getattr(model, "model", base) if base is model else base  # some give themselves
        self.head: nn.Module = model.get_output_embeddings()
        names = inspect.signature(type(self.body).forward).parameters
        # transformers renamed the argument.
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
        self._takes_positions = "position_ids" in names or takes_any  # else they follow from the mask

    @property
    def hidden_size(self) -> int:
        """Size of the last hidden state."""
        return int(self.head.weight.shape[1])  # type: ignore[arg-type, index, union-attr]

    def hidden(self, tokens: th.Tensor) -> th.Tensor:
        """
        :param tokens: Padded at the right, ``[S, T]``; what stands there is not seen by what stands before
        :return: Last hidden states, ``[S, T, hidden_size]``
        """
        with checkpointed_layers(self.body):
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
        inputs: dict[str, Any] = {"attention_mask": mask, self._cache_name: cache}
        if self._takes_positions:
            inputs["position_ids"] = positions
        return self.body(input_ids=tokens, use_cache=True, **inputs).last_hidden_state  # type: ignore[no-any-return]
