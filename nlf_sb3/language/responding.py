"""Whole responses of a language model's policy, many prompts at a time, and how well it predicts a text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch as th

from nlf_sb3.language.hugging_face_tokenizers import as_tokenizer
from nlf_sb3.language.models import longest_context
from nlf_sb3.language.tokenizers import Prompt, Tokenizer, check_prompt, ends_of
from nlf_sb3.whole_numbers import check_whole_number


def respond(
    policy: Any,
    tokenizer: Any,
    prompts: Iterable[Prompt],
    max_new_tokens: int,
    *,
    sample: bool = False,
    temperature: float | None = None,
    batch_size: int = 16,
) -> list[str]:
    """
    Responses by the policy's own distribution: its temperature, its likeliest k, its tokens without the forbidden ones.

    :param policy: A :class:`~nlf_sb3.language.CausalLMPolicy`
    :param tokenizer: Of its environment, or Hugging Face's own
    :param prompts: Texts or conversations
    :param max_new_tokens: The longest response
    :param sample: Sample; else the likeliest token each time
    :param temperature: Of samples; None for the policy's
    :param batch_size: Prompts at a time
    :return: A response for each prompt
    :raises TypeError: For a single text, and what is no prompt
    :raises ValueError: For roles that are none, a prompt that leaves a response no room in the model, and a temperature that
        isn't above 0
    """
    if isinstance(prompts, str):
        raise TypeError(f"prompts: got a single text, {prompts[:40]!r}; expected a list. Write [{prompts[:20]!r}].")
    tokenizer, prompts = as_tokenizer(tokenizer), list(prompts)
    if temperature is not None and not temperature > 0.0:
        raise ValueError(f"temperature: got {temperature!r}, expected a number above 0, or None for the policy's.")
    check_whole_number("max_new_tokens", max_new_tokens, 1)
    check_whole_number("batch_size", batch_size, 1)
    for prompt in prompts:
        check_prompt(prompt)
    ends = ends_of(tokenizer)
    longest_text = longest_context(policy.language_model.config)
    room = math.inf if longest_text is None else longest_text - max_new_tokens
    responses: list[str] = []
    for start in range(0, len(prompts), batch_size):
        rows = [tokenizer.encode_prompt(prompt) for prompt in prompts[start : start + batch_size]]
        longest = max(map(len, rows))
        largest = max((token for row in rows for token in row), default=0)
        if largest >= policy.n_tokens:
            raise ValueError(
                f"prompts: the tokenizer makes token {largest} of one, and the policy has {policy.n_tokens} tokens. Use the "
                "tokenizer of its environment."
            )
        if longest > room:
            raise ValueError(
                f"prompts: one of {longest} tokens and {max_new_tokens} of a response are more than the model can see; it has "
                f"room for {room}. Shorten the prompt or max_new_tokens."
            )
        made = policy.generate(rows, max_new_tokens, ends=ends, deterministic=not sample, temperature=temperature)
        responses += map(tokenizer.decode, made)
    return responses


@th.no_grad()
def perplexity(policy: Any, tokenizer: Tokenizer, text: str, window: int = 256) -> float:
    """
    exp of the mean negative log-likelihood of a text's tokens, in windows that follow one another.

    :param policy: A :class:`~nlf_sb3.language.CausalLMPolicy`
    :param tokenizer: Of its environment
    :param text: Any text
    :param window: Tokens in a window; the first of each is not predicted
    :return: At least 1
    """
    tokens = tokenizer.encode(text)
    total, n_predicted = 0.0, 0
    for start in range(0, len(tokens) - 1, window):
        part = th.tensor([tokens[start : start + window]], device=policy.device)
        if part.shape[1] > 1:
            with policy.without_dropout():
                log_probs = policy.language_model(input_ids=part).logits[0, :-1].float().log_softmax(dim=-1)
            total -= float(log_probs.gather(1, part[0, 1:, None]).sum())
            n_predicted += part.shape[1] - 1
    return math.exp(total / max(n_predicted, 1))
