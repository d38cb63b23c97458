"""The texts that come with the package: questions with sourced answers, and plain prose about other things."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nlf_sb3.language.record_files import RecordList, read_records

_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "language"

Split = Literal["train", "held_out"]


def load_health_and_science(split: Split | None = None) -> RecordList:
    """
    Questions of everyday health and science with sourced expected responses, plain answers and criteria.

    >>> load_health_and_science("train")[0].text
    'Please provide a source, like Mayo Clinic or USDA.'

    :param split: ``"train"`` or ``"held_out"``; both if None
    :return: The records, the fibre conversation first
    """
    if split not in ("train", "held_out", None):
        raise ValueError(f"split: got {split!r}, expected 'train', 'held_out' or None for both.")
    records = read_records(_FOLDER / "health_and_science.jsonl")
    return RecordList(record for record in records if split in (None, record.split))


def unrelated_text() -> str:
    """
    Plain prose about matters that the questions don't touch: how well a model still predicts it says what it has lost.

    :return: About 1,200 words
    """
    return (_FOLDER / "unrelated.txt").read_text(encoding="utf-8")
