"""Hidden states of growing contexts, token by token, with a cache of keys and values that survives resets of single rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from torch.nn import functional

from nlf_sb3.errors import require
from nlf_sb3.language.body_and_head import BodyAndHead


class CachedContexts:
    """
    Gives the last hidden state of each row's context, and computes only what it hasn't seen of it.

    Rows of different lengths stand at the right of one cache; a mask hides what is empty at their left. A row that isn't
    its own last context and one token more is computed anew, so that what comes out never depends on what is cached.

    :param model: The model
    :param version: Changes whenever the model's weights have
    """

    def __init__(self, model: BodyAndHead, version: Callable[[], int]) -> None:
        self._model = model
        self._version = version
        self.forget()

    def forget(self) -> None:
        """Drop the cache."""
        self._cache: Any = None
        self._contexts: np.ndarray | None = None
        self.n_prefilled = self.n_decoded = 0

    def last_hidden(self, contexts: np.ndarray, lengths: np.ndarray, device: th.device) -> th.Tensor:
        """
        :param contexts: Tokens, padded at the right with the same number throughout, ``[B, context_length]``
        :param lengths: How many tokens each row has, at least 1, ``[B]``
        :param device: Where the model lies
        :return: ``[B, hidden_size]``
        """
        if (lengths < 1).any():
            raise ValueError("CausalLMPolicy: an observation has no token, and the next one has to follow on something.")
        version = self._version()
        goes_on = self._goes_on(contexts, lengths, version)
        rows = np.arange(len(contexts))
        if not goes_on.any():
            self._cache, hidden = self._prefilled(contexts, lengths, device)
            self._align(self._cache, lengths)
        else:
            newest = contexts[rows, lengths - 1] * goes_on
            hidden = self._decoded(newest, np.where(goes_on, lengths, 1), device)
            fresh = np.flatnonzero(~goes_on)
            if len(fresh):
                cache, hidden_of_fresh = self._prefilled(contexts[fresh], lengths[fresh], device)
                self._put(fresh, lengths[fresh], cache)
                hidden[th.as_tensor(fresh, device=device)] = hidden_of_fresh
        self._trim(int(lengths.max()))
        self._contexts, self._lengths, self._cached_version = contexts.copy(), lengths, version
        self.n_prefilled += int(np.count_nonzero(~goes_on))
        self.n_decoded += int(np.count_nonzero(goes_on))
        return hidden

    def _goes_on(self, contexts: np.ndarray, lengths: np.ndarray, version: int) -> np.ndarray:
        """Which rows are what the cache holds and one token more, ``[B]``."""
        before = self._contexts
        if before is None or before.shape != contexts.shape or version != self._cached_version:
            return np.zeros(len(contexts), dtype=bool)
        is_new = np.arange(contexts.shape[1]) >= self._lengths[:, None]
        return ((contexts == before) | is_new).all(axis=1) & (lengths == self._lengths + 1)  # type: ignore[no-any-return]

    def _prefilled(self, contexts: np.ndarray, lengths: np.ndarray, device: th.device) -> tuple[Any, th.Tensor]:
        """A new cache of these rows, from the left, and their last hidden states."""
        cache = require("transformers", "lm", "CausalLMPolicy").DynamicCache()
        tokens = th.as_tensor(contexts[:, : lengths.max()], device=device).clamp(min=0)
        hidden = self._model.hidden_with_cache(tokens, cache)
        rows = th.arange(len(contexts), device=device)
        return cache, hidden[rows, th.as_tensor(lengths - 1, device=device)]

    def _decoded(self, newest: np.ndarray, lengths: np.ndarray, device: th.device) -> th.Tensor:
        """Last hidden states after one more token for each row, ``[B, hidden_size]``."""
        width = self._cache.get_seq_length() + 1
        mask = None
        if (lengths < width).any():
            mask = th.as_tensor(np.arange(width) >= width - lengths[:, None], device=device).long()
        positions = th.as_tensor(lengths - 1, device=device)[:, None]
        tokens = th.as_tensor(newest, device=device)[:, None]
        return self._model.hidden_with_cache(tokens, self._cache, mask, positions)[:, -1]

    def _put(self, rows: np.ndarray, lengths: np.ndarray, cache: Any) -> None:
        """Replace rows by those of another cache, which stand at its left."""
        missing = int(lengths.max()) - self._cache.get_seq_length()
        for layer, new in zip(self._cache.layers, cache.layers, strict=True):
            for name in ("keys", "values"):
                kept, fresh = getattr(layer, name), getattr(new, name)
                if missing > 0:
                    kept = functional.pad(kept, (0, 0, missing, 0))
                for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                    kept[row, :, -length:] = fresh[i, :, :length]
                setattr(layer, name, kept)

    def _align(self, cache: Any, lengths: np.ndarray) -> None:
        """Move rows that stand at the left of a cache to its right."""
        width = cache.get_seq_length()
        if (lengths == width).all():
            return
        index = (np.arange(width) - (width - lengths)[:, None]) % width
        for layer in cache.layers:
            for name in ("keys", "values"):
                states = getattr(layer, name)
                places = th.as_tensor(index, device=states.device)[:, None, :, None].expand_as(states)
                setattr(layer, name, states.gather(2, places))

    def _trim(self, longest: int) -> None:
        """Cut off what is empty in all rows."""
        surplus = self._cache.get_seq_length() - longest
        if surplus > 0:
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, surplus:], layer.values[:, :, surplus:]
