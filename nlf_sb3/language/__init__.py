"""Language generation as a Markov decision process: conversations, the users in them and the data they leave."""

from __future__ import annotations

from nlf_sb3.errors import RecordsError
from nlf_sb3.language.console import ConsoleUser
from nlf_sb3.language.conversation import EXPECTED_RESPONSE_KEY, HISTORY_KEY, RECORD_KEY, ConversationEnv
from nlf_sb3.language.criteria import Criterion, names_source
from nlf_sb3.language.data import from_prompt_completions, to_preferences, to_prompt_completions
from nlf_sb3.language.data_sets import load_health_and_science, unrelated_text
from nlf_sb3.language.history import History, Turn, last_turn, parse_history, render_history
from nlf_sb3.language.record_files import Problem, RecordList, append_record, read_records, write_records
from nlf_sb3.language.records import Record
from nlf_sb3.language.text_space import UnicodeText
from nlf_sb3.language.toy import toy_records
from nlf_sb3.language.users import RecordedUser, Reply, SimulatedUser, User

__all__ = [
    "EXPECTED_RESPONSE_KEY",
    "HISTORY_KEY",
    "RECORD_KEY",
    "ConsoleUser",
    "ConversationEnv",
    "Criterion",
    "History",
    "Problem",
    "Record",
    "RecordList",
    "RecordedUser",
    "RecordsError",
    "Reply",
    "SimulatedUser",
    "Turn",
    "UnicodeText",
    "User",
    "append_record",
    "from_prompt_completions",
    "last_turn",
    "load_health_and_science",
    "names_source",
    "parse_history",
    "read_records",
    "render_history",
    "to_preferences",
    "to_prompt_completions",
    "toy_records",
    "unrelated_text",
    "write_records",
]
