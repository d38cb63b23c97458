"""Records as preference and prompt-completion data, in the formats of the TRL library, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language.history import History, parse_history, render_history
from nlf_sb3.language.records import Record

OnMissing = Literal["raise", "skip"]


def to_preferences(
    records: Iterable[Record],
    *,
    conversational: bool = False,
    on_missing: OnMissing = "raise",
    render: Callable[[History], str] = render_history,
) -> list[dict[str, Any]]:
    """
    Rows of prompt, chosen and rejected: the expected response is chosen over the response that was given.

    >>> record = Record([{"role": "user", "content": "Is a pear a fruit?"}], "Yes, says the USDA.", response="Yes.")
    >>> to_preferences([record])
    [{'prompt': 'User: Is a pear a fruit?', 'chosen': 'Yes, says the USDA.', 'rejected': 'Yes.'}]

    :param records: Records with a response and an expected response
    :param conversational: Whether a row holds turns instead of texts, for a chat template
    :param on_missing: ``"skip"`` leaves records without one of the two out; ``"raise"`` names the first
    :param render: Makes a prompt of a history, where rows hold texts
    :return: The rows, in order
    :raises FeedbackError: If a record lacks one of the two
    """
    return [
        {
            "prompt": _prompt(record, conversational, render),
            "chosen": _said(record.expected_response, conversational),
            "rejected": _said(record.response, conversational),
        }
        for record in _with(records, ("expected_response", "response"), on_missing, "to_preferences")
    ]


def to_prompt_completions(
    records: Iterable[Record],
    *,
    conversational: bool = False,
    on_missing: OnMissing = "raise",
    render: Callable[[History], str] = render_history,
) -> list[dict[str, Any]]:
    """
    Rows of prompt and completion: the completion is the expected response.

    :param records: Records with an expected response
    :param conversational: Whether a row holds turns instead of texts, for a chat template
    :param on_missing: ``"skip"`` leaves records without one out; ``"raise"`` names the first
    :param render: Makes a prompt of a history, where rows hold texts
    :return: The rows, in order
    :raises FeedbackError: If a record has no expected response
    """
    return [
        {"prompt": _prompt(record, conversational, render), "completion": _said(record.expected_response, conversational)}
        for record in _with(records, ("expected_response",), on_missing, "to_prompt_completions")
    ]


def from_prompt_completions(rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    """
    Records of prompt and completion, texts or turns. A text that :func:`~nlf_sb3.language.render_history` wrote becomes
    its turns again, any other the one turn of a user.

    >>> from_prompt_completions([{"prompt": "Is a pear a fruit?", "completion": "Yes, says the USDA."}])[0].history
    ({'role': 'user', 'content': 'Is a pear a fruit?'},)

    :param rows: Rows of prompt and completion; other columns are left out
    :return: A record for each, with the completion as expected response
    :raises FeedbackError: If a row is none, with its index
    """
    return [_record(row, index) for index, row in enumerate(rows)]


def _record(row: Any, index: int) -> Record:
    if not isinstance(row, Mapping) or not {"prompt", "completion"} <= set(row):
        came = sorted(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
        raise FeedbackError(f"row {index}: got {came}, expected a prompt and a completion. Rename the columns.")
    prompt, completion = row["prompt"], row["completion"]
    if not isinstance(completion, str):
        if not isinstance(completion, (list, tuple)) or len(completion) != 1 or not isinstance(completion[0], Mapping):
            raise FeedbackError(
                f"row {index}: completion: got {completion!r:.80}, expected a text or one turn of the assistant's."
            )
        completion = completion[0].get("content")
    try:
        return Record(parse_history(prompt) if isinstance(prompt, str) else prompt, completion)
    except FeedbackError as error:
        raise FeedbackError(f"row {index}: {error}") from error


def _with(records: Iterable[Record], names: tuple[str, ...], on_missing: str, caller: str) -> list[Record]:
    if on_missing not in ("raise", "skip"):
        raise ValueError(f"on_missing: got {on_missing!r}, expected 'raise' or 'skip'.")
    kept = []
    for index, record in enumerate(records):
        missing = [name for name in names if getattr(record, name) is None]
        if not missing:
            kept.append(record)
        elif on_missing == "raise":
            name = index if record.id is None else repr(record.id)
            mend = 'Add it, or leave such records out with on_missing="skip".'
            raise FeedbackError(f"{caller}: record {name} has no {' and no '.join(missing)}. {mend}")
    return kept


def _prompt(record: Record, conversational: bool, render: Callable[[History], str]) -> Any:
    return [dict(turn) for turn in record.history] if conversational else render(record.history)


def _said(text: str | None, conversational: bool) -> Any:
    return [{"role": "assistant", "content": text}] if conversational else text
