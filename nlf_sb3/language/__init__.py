"""Language generation as an MDP of tokens, and causal language models as policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nlf_sb3.language.buffers import TokenEpisodeBuffer, TokenRolloutBuffer
from nlf_sb3.language.contexts import TokenContexts
from nlf_sb3.language.sequences import TokenSequence
from nlf_sb3.language.token_env import TokenLevel
from nlf_sb3.language.tokenizers import ByteTokenizer, HuggingFaceTokenizer, Tokenizer, as_tokenizer

if TYPE_CHECKING:
    from nlf_sb3.language.policy import CausalLMPolicy

__all__ = [
    "ByteTokenizer",
    "CausalLMPolicy",
    "HuggingFaceTokenizer",
    "TokenContexts",
    "TokenEpisodeBuffer",
    "TokenLevel",
    "TokenRolloutBuffer",
    "TokenSequence",
    "Tokenizer",
    "as_tokenizer",
]


def __getattr__(name: str) -> Any:
    """The policy is imported when it is first asked for: it needs the extra ``lm`` where it is used."""
    if name == "CausalLMPolicy":
        from nlf_sb3.language.policy import CausalLMPolicy

        return CausalLMPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
