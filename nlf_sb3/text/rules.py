"""An interpreter by rules: directions, sizes, negation, praise and blame, read against the action taken."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from nlf_sb3.action_names import ActionNames, as_action_names
from nlf_sb3.text.corrections import Corrections, Remarks
from nlf_sb3.text.reading import Reader, Reading

SIZES = {-1: 0.08, 0: 0.2, 1: 0.5}
"""How far a bit, no size and a lot go, in half ranges."""
_DOUBTFUL = 0.2
"""Confidence in a remark that praises what wasn't done, or speaks of one dimension of several and doesn't say which."""
_UNNAMED_TURN = 0.5
"""Confidence in the opposite of all that was done, where no dimension is named."""


class RuleInterpreter:
    """
    Reads remarks by rules; nothing is learned, and nothing in a remark is executed.

    >>> from nlf_sb3.action_names import Dimension
    >>> names = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("push", low="left", high="right")])
    >>> remarks = Remarks(["You shouldn't have gone left."], [None], np.array([[-0.5]]))
    >>> RuleInterpreter(names).interpret(remarks).directions
    array([[1.]])

    :param names: :class:`~nlf_sb3.action_names.ActionNames`, or an action space for names by default
    """

    def __init__(self, names: ActionNames | spaces.Space) -> None:
        self.names = as_action_names(names)
        self._reader = Reader(self.names)
        low, high = self.names.low, self.names.high
        self._middle = np.where(np.isfinite(low + high), (low + high) / 2, 0.0)

    def interpret(self, remarks: Remarks) -> Corrections:
        """
        :param remarks: What was said about n steps
        :return: What it asks for
        """
        signs = np.sign(self.names.flatten(remarks.actions) - self._middle).astype(int).tolist()
        read = self._reader.read
        rows = [
            self._understand(read(text), kind, taken)
            for text, kind, taken in zip(remarks.texts, remarks.kinds, signs, strict=True)
        ]
        directions = np.array([row[0] for row in rows], dtype=np.float64).reshape(len(rows), self.names.n_dimensions)
        rest = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), 3)
        return Corrections(directions, rest[:, 0], rest[:, 1], rest[:, 2])

    def _understand(self, reading: Reading, kind: str | None, taken: list[int]) -> tuple[list[int], float, float, float]:
        """A remark's directions, size, valence and confidence."""
        valence = (reading.valence > 0) - (reading.valence < 0)
        doubt = 1.0
        directions = [0] * len(taken)
        if kind != "r" or reading.is_of_action:  # a reward in words speaks of the state
            ways = reading.ways
            if reading.told and not any(ways.values()):
                valence = valence or {"hp": 1, "hn": -1}.get(kind or "", 0)
                ways = {dimension: valence * direction for dimension, direction in reading.told.items()}
            for dimension, way in ways.items():
                directions[dimension] = (way > 0) - (way < 0)
            if len(ways) > 1 and reading.dimension is None:
                doubt = _DOUBTFUL
            if not any(directions):
                doubt *= _relate_to_taken(reading, taken, directions)
        is_directed = any(directions)
        if kind == "hp" and valence == 0 and is_directed:
            valence = 1
        if valence > 0 and any(way * sign < 0 for way, sign in zip(directions, taken, strict=True)):
            if kind == "hp" or reading.told:
                doubt = _DOUBTFUL  # it praises what wasn't done
            else:
                valence = 0  # advice
        if not is_directed and valence == 0:
            return directions, 0.0, 0.0, 0.0
        confidence = reading.confidence * doubt
        return directions, SIZES[reading.size], float(valence), confidence if is_directed else 0.5 * confidence


def _relate_to_taken(reading: Reading, taken: list[int], directions: list[int]) -> float:
    """More, less, or the opposite of what was done, in the dimension named or in all, and how sure that is."""
    if not (reading.turns or reading.more):
        return 1.0
    factor = -1 if reading.turns else reading.more
    if reading.dimension is not None or len(taken) == 1:
        dimension = reading.dimension or 0
        directions[dimension] = factor * taken[dimension]
        return 1.0
    directions[:] = [factor * sign for sign in taken]
    return 1.0 if sum(map(abs, taken)) == 1 else _UNNAMED_TURN if reading.turns else _DOUBTFUL
