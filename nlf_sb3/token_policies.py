"""Refuse language models, and environments of texts or tokens, that don't go together with the rest."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from nlf_sb3.distribution_parts import is_known
from nlf_sb3.errors import FeedbackError
from nlf_sb3.observations import ObservationRows


def check_has_no_texts(env: Any) -> None:
    """
    :param env: An environment, before it is vectorised
    :raises FeedbackError: If its observations or actions are texts, which no policy of Stable-Baselines3 has
    """
    for what in ("observation", "action"):
        space = getattr(env, f"{what}_space", None)
        if isinstance(space, spaces.Text):
            raise FeedbackError(
                f"env: got {what}s of {space}, and policies act in numbers. Make tokens of the texts: "
                "nlf_sb3.language.TokenLevel(env, tokenizer, max_new_tokens=..., context_length=...)."
            )


def check_tokens(model: Any, *, trains_tokens: bool) -> None:
    """
    :param model: An algorithm, which may have no policy yet
    :param trains_tokens: Whether it can train policies of tokens
    :raises FeedbackError: If its policy and the algorithm, or its policy and the rollout buffer, don't go together
    """
    if acts_by_tokens(model.policy_class) and not trains_tokens:
        raise FeedbackError(
            f"policy: {type(model).__name__} can't train {model.policy_class.__name__}. Use REINFORCE, PPO or A2C."
        )
    buffer = model.rollout_buffer_class
    if getattr(buffer, "holds_contexts", False) and not _takes_contexts(model.policy_class):
        raise FeedbackError(
            f"rollout_buffer_class: {buffer.__name__} holds tokens, which {model.policy_class.__name__} can't read. Use it "
            "with nlf_sb3.language.CausalLMPolicy, or leave it away."
        )


def check_takes(policy_class: type[Any], observations: Any, source: str) -> None:
    """
    :param policy_class: The learner's
    :param observations: What it is to be trained on
    :param source: What they are
    :raises FeedbackError: If they are tokens, and the policy can't read them
    """
    if isinstance(observations, ObservationRows) and not _takes_contexts(policy_class):
        raise FeedbackError(
            f"{source}: it is made of tokens, as TokenLevel gives them, which {policy_class.__name__} can't read. Use "
            "nlf_sb3.language.CausalLMPolicy as the policy."
        )


def acts_by_tokens(policy: Any) -> bool:
    """
    :param policy: A policy or its class
    :return: Whether it is a language model
    """
    return bool(getattr(policy, "acts_by_tokens", False))


def _takes_contexts(policy_class: Any) -> bool:
    """Whether a policy may read tokens in the form of contexts: it says so, or a user wrote how it reads observations."""
    methods = [getattr(policy_class, name, None) for name in ("evaluate_actions", "extract_features")]
    return acts_by_tokens(policy_class) or not all(method is None or is_known(method) for method in methods)
