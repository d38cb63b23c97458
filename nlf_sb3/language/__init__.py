"""Language generation as an MDP: conversations and their users, the token level, and language models as policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nlf_sb3.errors import RecordsError
from nlf_sb3.language.buffers import TokenEpisodeBuffer, TokenRolloutBuffer
from nlf_sb3.language.console import ConsoleUser
from nlf_sb3.language.contexts import TokenContexts
from nlf_sb3.language.conversation import EXPECTED_RESPONSE_KEY, HISTORY_KEY, RECORD_KEY, ConversationEnv
from nlf_sb3.language.criteria import Criterion, names_source
from nlf_sb3.language.data import from_prompt_completions, to_preferences, to_prompt_completions
from nlf_sb3.language.data_sets import load_health_and_science, unrelated_text
from nlf_sb3.language.history import History, Turn, last_turn, parse_history, render_history
from nlf_sb3.language.hugging_face_tokenizers import HuggingFaceTokenizer, as_tokenizer
from nlf_sb3.language.record_files import Problem, RecordList, append_record, read_records, write_records
from nlf_sb3.language.records import Record
from nlf_sb3.language.reference_kl import ReferenceKL
from nlf_sb3.language.refining import RefiningUser
from nlf_sb3.language.responding import perplexity, respond
from nlf_sb3.language.sequences import TokenSequence
from nlf_sb3.language.text_space import UnicodeText
from nlf_sb3.language.token_env import TokenLevel
from nlf_sb3.language.tokenizers import ByteTokenizer, Tokenizer
from nlf_sb3.language.toy import toy_records
from nlf_sb3.language.users import RecordedUser, Reply, SimulatedUser, User

if TYPE_CHECKING:
    from nlf_sb3.language.policy import CausalLMPolicy

__all__ = [
    "EXPECTED_RESPONSE_KEY",
    "HISTORY_KEY",
    "RECORD_KEY",
    "ByteTokenizer",
    "CausalLMPolicy",
    "ConsoleUser",
    "ConversationEnv",
    "Criterion",
    "History",
    "HuggingFaceTokenizer",
    "Problem",
    "Record",
    "RecordList",
    "RecordedUser",
    "RecordsError",
    "ReferenceKL",
    "RefiningUser",
    "Reply",
    "SimulatedUser",
    "TokenContexts",
    "TokenEpisodeBuffer",
    "TokenLevel",
    "TokenRolloutBuffer",
    "TokenSequence",
    "Tokenizer",
    "Turn",
    "UnicodeText",
    "User",
    "append_record",
    "as_tokenizer",
    "from_prompt_completions",
    "last_turn",
    "load_health_and_science",
    "names_source",
    "parse_history",
    "perplexity",
    "read_records",
    "render_history",
    "respond",
    "to_preferences",
    "to_prompt_completions",
    "toy_records",
    "unrelated_text",
    "write_records",
]


def __getattr__(name: str) -> Any:
    """The policy is imported when it is first asked for: it needs the extra ``lm`` where it is used."""
    if name == "CausalLMPolicy":
        from nlf_sb3.language.policy import CausalLMPolicy

        return CausalLMPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
