"""Readers that are trained: linear classifiers of n-grams, or of sentence embeddings. They need scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from benchmarks.readers.remarks import Spoken
from nlf_sb3.text.agreement import N_FEATURES, features_of, names_direction
from nlf_sb3.text.tokens import Tokenizer

_TOKENIZERS: dict[int, Tokenizer] = {}
INVERSE_PENALTY = 30.0


def tokens_of(remark: Spoken) -> Any:
    """The words of a remark."""
    tokenizer = _TOKENIZERS.setdefault(id(remark.names), Tokenizer(remark.names))
    return tokenizer.tokens(remark.text)


def named(remarks: list[Spoken]) -> list[tuple[Spoken, int]]:
    """Each remark with each dimension of which it names a direction."""
    return [
        (remark, dimension)
        for remark in remarks
        for dimension in range(remark.names.n_dimensions)
        if names_direction(tokens_of(remark), dimension)
    ]


def matrix_of(rows: list[tuple[Spoken, int]], *, is_mirrored: bool = False) -> sparse.csr_matrix:
    """Features of remarks and dimensions, ``[n, N_FEATURES]``."""
    parts = [features_of(tokens_of(remark), dimension, is_mirrored=is_mirrored) for remark, dimension in rows]
    indptr = np.cumsum([0] + [len(indices) for indices, _ in parts])
    indices = np.concatenate([indices for indices, _ in parts])
    values = np.concatenate([values for _, values in parts])
    return sparse.csr_matrix((values, indices, indptr), shape=(len(rows), N_FEATURES))


def train_on_ngrams(remarks: list[Spoken]) -> LogisticRegression:
    """The classifier of :class:`~nlf_sb3.text.agreement.Agreement`, from remarks and their mirror images."""
    rows = named(remarks)
    wanted = np.array([remark.wanted[dimension] for remark, dimension in rows])
    features = sparse.vstack([matrix_of(rows), matrix_of(rows, is_mirrored=True)])
    return LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(features, np.concatenate([wanted, -wanted]))


def train_on_embeddings(remarks: list[Spoken], encode: Callable[[list[str]], np.ndarray]) -> LogisticRegression:
    """
    A classifier of what is wanted from embeddings of remarks whose directions are called left and right.

    :param remarks: Remarks, which are mirrored too
    :param encode: Texts to embeddings, ``[n, d]``
    """
    rows = named(remarks)
    wanted = np.array([remark.wanted[dimension] for remark, dimension in rows])
    texts = [plain_words(row) for row in rows] + [plain_words(row, is_mirrored=True) for row in rows]
    return LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(encode(texts), np.concatenate([wanted, -wanted]))


def plain_words(row: tuple[Spoken, int], *, is_mirrored: bool = False) -> str:
    """A remark in lower case, in which the directions of the dimension in question are "left" and "right"."""
    remark, dimension = row
    words = []
    for token in tokens_of(remark):
        way = next((direction for index, direction in token.ways if index == dimension), 0)
        is_high = (way > 0) != is_mirrored
        words.append(token.word if way == 0 else "right" if is_high else "left")
    return " ".join(words)
