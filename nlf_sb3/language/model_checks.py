"""What a language model has to do as a policy: a linear head, and the same token by token as in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.body_and_head import BodyAndHead
from nlf_sb3.language.contexts import EMPTY
from nlf_sb3.language.generation import CachedContexts

_SCALE_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
_WINDOWS = ("window", "chunk", "local")
"""What configurations call the reach of an attention that doesn't see the whole text: parts of the names."""
_MOST = 1e-3
"""Relative difference of two hidden states that are the same but for rounding."""


@th.no_grad()
def check_model(model: Any, parts: BodyAndHead, name: str, n_tokens: int, context_length: int) -> None:
    """
    :param model: A ``PreTrainedModel``, or the ``PeftModel`` around it
    :param parts: Its own
    :param name: What the user called it
    :param n_tokens: Size of the vocabulary
    :param context_length: The longest text
    :raises FeedbackError: By name and class, if it can't be a policy
    """
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    named = f"model: {name!r} ({type(causal_lm).__name__})"
    was_training = model.training
    model.eval()
    try:
        with th.random.fork_rng(devices=[]):  # some attention draws, even without training mode
            _check_head(model, parts, named)
            _check_decoding(causal_lm, parts, named, n_tokens, context_length)
    finally:
        model.train(was_training)


def _check_head(model: Any, parts: BodyAndHead, named: str) -> None:
    if not hasattr(parts.head, "weight"):
        raise FeedbackError(f"{named} has no linear output layer. Use another model.")
    scaled = [key for key in _SCALE_LOGITS if getattr(model.config, key, None) not in (None, 1.0)]
    tokens = th.ones((1, 2), dtype=th.long, device=model.device)
    try:
        whole, made = model(input_ids=tokens, use_cache=False).logits, parts.head(parts.hidden(tokens))
        same = whole.shape == made.shape and th.allclose(whole, made, atol=1e-4)
    except Exception as error:
        raise FeedbackError(f"{named} gives no hidden states of tokens alone: {error!r:.300} Use another model.") from error
    if scaled or not same:
        raise FeedbackError(
            f"{named} does more to its logits than its output layer (as some models scale or cap them), which CausalLMPolicy "
            "doesn't know. Use another model."
        )


def _check_decoding(model: Any, parts: BodyAndHead, named: str, n_tokens: int, context_length: int) -> None:
    """Decode two rows of different length token by token, one of which begins anew, and compare with whole passes."""
    rows = _rows_to_decode(model.config, n_tokens, context_length)
    try:
        whole = parts.hidden(th.as_tensor(_padded(rows, 0), device=model.device))
        shortest = parts.hidden(th.as_tensor(rows[-1][None], device=model.device))[0]
        beside = _difference(whole[-1, : len(shortest)], shortest)
        cached = max(_differences_decoded(parts, rows, whole))
    except Exception as error:
        raise FeedbackError(
            f"{named} can't be decoded token by token with a cache of keys and values: {error!r:.300} Use another model."
        ) from error
    for difference, what in (
        (beside, "beside a longer text, the hidden states of a text"),
        (cached, "decoded token by token through the cache, the hidden states of two texts"),
    ):
        if not difference <= _MOST:
            raise FeedbackError(
                f"{named} would sample from a wrong distribution: {what} differ from those of one pass by {difference:.1%} of "
                "their norm. Use another model."
            )


def _rows_to_decode(config: Any, n_tokens: int, context_length: int) -> list[np.ndarray]:
    """Three texts, the longest of which reach beyond a window of the model's attention."""
    values = [value for key, value in config.to_dict().items() if any(word in key for word in _WINDOWS)]
    windows = [value for value in values if isinstance(value, int) and 0 < value < context_length]
    longest = min(max([6, *windows]) + 6, context_length)
    lengths = (max(longest - 3, 1), longest, max(longest // 2, 1))
    tokens = np.arange(1, 1 + 3 * longest) * 7919 % n_tokens
    return [tokens[i * longest :][:length] for i, length in enumerate(lengths)]


def _differences_decoded(parts: BodyAndHead, rows: list[np.ndarray], whole: th.Tensor) -> list[float]:
    """
    Of each hidden state that is decoded.

    Two rows begin six tokens before their ends. Midway a third text takes the place of the first.
    """
    decoding = CachedContexts(parts, lambda: 0)
    width = max(map(len, rows))
    length_of = [max(len(row) - 5, 1) for row in rows]
    found, shown = [], [0, 1]
    for step in range(6):
        if step == 3:
            shown = [2, 1]
        lengths = np.array([length_of[row] for row in shown])
        contexts = _padded([rows[row][: length_of[row]] for row in shown], EMPTY, width)
        hidden = decoding.last_hidden(contexts, lengths, whole.device)
        found += [_difference(hidden[i], whole[row, length_of[row] - 1]) for i, row in enumerate(shown)]
        for row in shown:
            length_of[row] = min(length_of[row] + 1, len(rows[row]))
    return found


def _padded(rows: list[np.ndarray], filler: int, width: int | None = None) -> np.ndarray:
    padded = np.full((len(rows), width or max(map(len, rows))), filler, dtype=np.int64)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    return padded


def _difference(one: th.Tensor, other: th.Tensor) -> float:
    """The largest relative difference of two rows of hidden states."""
    return float(((one - other).norm(dim=-1) / other.norm(dim=-1).clamp(min=1e-6)).max())
