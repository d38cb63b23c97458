"""What finished runs of nlf-sb3 tune left: their evaluations, with how unlike each other the answers were."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

_WORD = re.compile(r"\w+")


def evaluations(folders: Iterable[Path]) -> pd.DataFrame:
    """
    :param folders: Of finished runs
    :return: A row for each evaluation of each run
    """
    rows = []
    for folder in folders:
        answers: dict[int, list[str]] = defaultdict(list)
        for line in (folder / "responses.jsonl").read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            answers[answer["responses"]].append(answer["answered"])
        of_the_run: list[dict[str, Any]] = json.loads((folder / "rows.json").read_text())
        rows += [{**row, "distinct_pairs": distinct_pairs(answers[row["responses"]])} for row in of_the_run]
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def distinct_pairs(texts: Iterable[str]) -> float:
    """
    How many distinct pairs of neighbouring words there are, over all pairs: distinct-2 (Li et al., 2016,
    https://arxiv.org/abs/1510.03055).

    >>> distinct_pairs(["a pear is a fruit", "a pear is green"])
    0.7142857142857143

    :param texts: Answers to several questions
    :return: Near 0 where they all say the same, and at most 1; 0 without any pair
    """
    words = [_WORD.findall(text.lower()) for text in texts]
    pairs = [pair for several in words for pair in itertools.pairwise(several)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0
