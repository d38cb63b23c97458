"""Microseconds a row for encoding and interpreting remarks that were never seen: ``python benchmarks/reading.py``."""

from __future__ import annotations

import statistics
import time

import numpy as np
from gymnasium import spaces

from nlf_sb3.teachers import SpeakingTeacher, Transition
from nlf_sb3.text import ActionNames, Dimension, HashedNgrams, Remarks, RuleInterpreter

N_ROWS = 5_000
N_REPEATS = 7


def remarks_of_a_teacher(names: ActionNames) -> Remarks:
    """Remarks about random actions, each made unlike the others by a number at its end."""
    rng = np.random.default_rng(0)
    teacher = SpeakingTeacher(lambda observations: observations[:, :1], names)
    texts, actions = [], rng.uniform(-3, 3, (N_ROWS, 1))
    for row in range(N_ROWS):
        observation = rng.uniform(-3, 3, 2)
        feedback = teacher(Transition(observation, actions[row], 0.0, observation, False, False, {}, 0))
        assert feedback is not None
        texts.append(f"{feedback.text} Number {row}.")
    return Remarks(texts, [None] * N_ROWS, actions)


def main() -> None:
    """Print medians over repeats."""
    names = ActionNames(spaces.Box(-3.0, 3.0, (1,)), [Dimension("push", low="left", high="right")])
    remarks = remarks_of_a_teacher(names)
    interpreter, encoder = RuleInterpreter(names), HashedNgrams()
    jobs = {"interpreting": lambda: interpreter.interpret(remarks), "encoding": lambda: encoder.encode(remarks.texts)}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(N_REPEATS):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            times[name].append(1e6 * (time.perf_counter() - start) / N_ROWS)
    for name, values in times.items():
        print(f"{name}: {statistics.median(values):.1f} microseconds a row ({min(values):.1f} to {max(values):.1f})")
    print(f"together: {sum(map(statistics.median, times.values())):.1f}")


if __name__ == "__main__":
    main()
