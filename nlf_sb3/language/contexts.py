"""Observations of the token MDP as prefixes of sequences: an episode of n steps holds n tokens, and not n squared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nlf_sb3.language.sequences import NOTHING, TokenSequence
from nlf_sb3.observations import ObservationRows

EMPTY = -1
"""What fills a padded observation after its last token: no token, whatever the tokenizer."""


class TokenContexts(ObservationRows):
    """
    Observations of the token MDP: each is the first ``length`` tokens of a sequence that many of them share.

    It is indexed as an array ``[K]`` (or ``[n_steps, n_envs]``) is; a single row is its tokens, ``[length]``.

    :param sequences: The sequence of each row, an array of objects
    :param lengths: How many of its tokens each row is, of the same shape
    """

    def __init__(self, sequences: np.ndarray, lengths: np.ndarray) -> None:
        if sequences.shape != lengths.shape:
            raise ValueError(f"TokenContexts: got shapes {sequences.shape} and {lengths.shape}, expected one and the same.")
        self.sequences = sequences
        self.lengths = lengths
        self.shape = lengths.shape

    @classmethod
    def empty(cls, *shape: int) -> TokenContexts:
        """
        :param shape: Of the rows
        :return: Rows without any token
        """
        sequences = np.empty(shape, dtype=object)
        sequences.fill(NOTHING)
        return cls(sequences, np.zeros(shape, dtype=np.int32))

    @classmethod
    def of_sequence(cls, tokens: Any, lengths: Any) -> TokenContexts:
        """
        :param tokens: Tokens of one sequence, ``[n]``
        :param lengths: How many of them each row is, ``[K]``
        :return: K rows
        """
        lengths = np.asarray(lengths, dtype=np.int32)
        sequences = np.empty(len(lengths), dtype=object)
        sequences.fill(TokenSequence(tokens))
        return cls(sequences, lengths)

    @classmethod
    def from_padded(cls, observations: np.ndarray) -> TokenContexts:
        """
        :param observations: Tokens, then :data:`EMPTY`, ``[K, context_length]``
        :return: K rows, each a sequence of its own
        """
        contexts = cls.empty(len(observations))
        for row, observation in enumerate(observations):
            tokens = without_padding(observation)
            contexts.sequences[row], contexts.lengths[row] = TokenSequence(tokens), len(tokens)
        return contexts

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> Any:
        lengths = self.lengths[rows]
        if np.ndim(lengths) == 0:
            return self.sequences[rows].tokens[:lengths]
        return TokenContexts(self.sequences[rows], lengths)

    def __setitem__(self, rows: Any, others: TokenContexts) -> None:
        self.sequences[rows] = others.sequences
        self.lengths[rows] = others.lengths

    @property
    def nbytes(self) -> int:
        """Bytes that the rows and their sequences take."""
        unique: dict[int, int] = {id(sequence): sequence.nbytes for sequence in self.sequences.flat}
        return sum(unique.values()) + int(self.sequences.nbytes) + int(self.lengths.nbytes)

    def copy(self) -> TokenContexts:
        return TokenContexts(self.sequences.copy(), self.lengths.copy())

    def blank(self, n_rows: int) -> TokenContexts:
        return self.empty(n_rows, *self.shape[1:])

    def joined(self, others: Sequence[TokenContexts]) -> TokenContexts:
        parts = [self, *others]
        return TokenContexts(
            np.concatenate([part.sequences for part in parts]), np.concatenate([part.lengths for part in parts])
        )

    def appended(self, last: Any) -> TokenContexts:
        tokens = without_padding(np.asarray(last))
        if len(self) and self.sequences[-1].starts_with(tokens):
            one = TokenContexts(self.sequences[-1:], np.array([len(tokens)], dtype=np.int32))
        else:
            one = self.of_sequence(tokens, [len(tokens)])
        return self.joined([one])

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """
        :param rng: Shuffles the sequences
        :return: All rows, those of a sequence together and by their lengths, ``[K]``
        """
        unique, index = self.distinct()
        return np.lexsort((self.lengths, rng.permutation(len(unique))[index]))

    def distinct(self) -> tuple[list[TokenSequence], np.ndarray]:
        """
        :return: The distinct sequences, in the order of their first rows, and each row's place among them, ``[K]``
        """
        places: dict[int, int] = {}
        index = np.array([places.setdefault(id(sequence), len(places)) for sequence in self.sequences], dtype=np.int64)
        unique: list[Any] = [None] * len(places)
        for sequence, place in zip(self.sequences, index, strict=True):
            unique[place] = sequence
        return unique, index

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """
        What one forward pass needs to see all rows.

        :return: For each distinct sequence the tokens that its longest row holds, then zeros, ``[S, T]``; each row's place
            among them, ``[K]``
        """
        unique, index = self.distinct()
        longest = np.zeros(len(unique), dtype=np.int64)
        np.maximum.at(longest, index, self.lengths)
        tokens = np.zeros((len(unique), int(longest.max(initial=0))), dtype=np.int64)
        for row, (sequence, length) in enumerate(zip(unique, longest, strict=True)):
            tokens[row, :length] = sequence.tokens[:length]
        return tokens, index


def without_padding(observation: np.ndarray) -> np.ndarray:
    """
    :param observation: Tokens, then :data:`EMPTY`, ``[context_length]``
    :return: The tokens, ``[n]``
    """
    return observation[: int(np.count_nonzero(observation >= 0))]


def as_contexts(observations: Any) -> TokenContexts:
    """
    :param observations: Contexts, or padded tokens, ``[N, context_length]``
    :return: Contexts; each row of padded tokens is a sequence of its own
    """
    return observations if isinstance(observations, TokenContexts) else TokenContexts.from_padded(_on_cpu(observations))


def as_padded(observations: Any) -> tuple[np.ndarray, np.ndarray]:
    """
    :param observations: Contexts, or padded tokens, ``[N, context_length]``
    :return: Tokens, then :data:`EMPTY`, ``[N, T]``, and how many of them each row has, ``[N]``
    """
    if not isinstance(observations, TokenContexts):
        padded = _on_cpu(observations)
        return padded, np.count_nonzero(padded >= 0, axis=1)
    lengths = observations.lengths.astype(np.int64)
    padded = np.full((len(lengths), int(lengths.max(initial=0))), EMPTY, dtype=np.int64)
    for row, length in enumerate(lengths):
        padded[row, :length] = observations[row]
    return padded, lengths


def _on_cpu(observations: Any) -> np.ndarray:
    array = np.asarray(observations.cpu() if hasattr(observations, "cpu") else observations)
    if array.dtype.kind in "iu":
        return array
    tokens = array.astype(np.int64)
    if not np.array_equal(tokens, array):
        raise ValueError("observations: got fractions, expected tokens. Use VecNormalize(norm_obs=False), or none.")
    return tokens
