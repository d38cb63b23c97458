"""Texts as vectors: hashed n-grams without any download, or a sentence-transformer."""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nlf_sb3.errors import FeedbackError, require

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_MAX_CHARACTERS = 2_000


class TextEncoder(Protocol):
    """Maps n texts to vectors, ``[n, size]`` of float32, each of length 1, or 0 where there is nothing to encode."""

    size: int

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


class HashedNgrams:
    """
    Words and pairs of words, hashed into a vector (Weinberger et al., 2009, https://arxiv.org/abs/0902.2206), by scikit-learn.

    Nothing is learned and nothing is downloaded: a text has the same vector everywhere. Of long texts the first 2,000
    characters count.

    >>> HashedNgrams(64).encode(["push left", "PUSH, left!"]).shape
    (2, 64)

    :param size: Length of the vectors
    """

    def __init__(self, size: int = 256) -> None:
        self.size = size
        text = require("sklearn.feature_extraction.text", "data", "HashedNgrams")
        self._vectorizer = text.HashingVectorizer(n_features=size, analyzer=_words_and_pairs, dtype=np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """
        :param texts: n texts
        :return: ``[n, size]``
        """
        if not len(texts):
            return np.zeros((0, self.size), dtype=np.float32)
        encoded: np.ndarray = self._vectorizer.transform(texts).toarray()
        return encoded


def _words_and_pairs(text: str) -> list[str]:
    tokens = _WORD.findall(text[:_MAX_CHARACTERS].lower())
    return tokens + [f"{first} {second}" for first, second in itertools.pairwise(tokens)]


class SentenceEncoder:
    """
    A sentence-transformer (Reimers and Gurevych, 2019, https://arxiv.org/abs/1908.10084), from the extra ``text``.

    :param model: Name or folder of a model, or a loaded ``SentenceTransformer``
    :param batch_size: Texts in a forward pass
    """

    def __init__(self, model: Any = "all-MiniLM-L6-v2", batch_size: int = 64) -> None:
        if isinstance(model, str):
            package = require("sentence_transformers", "text", "SentenceEncoder")
            model = package.SentenceTransformer(model)
        self._model = model
        self._batch_size = batch_size
        sizes = (getattr(model, name, None) for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"))
        self.size = int(next(size for size in sizes if size is not None)())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """
        :param texts: n texts
        :return: ``[n, size]``
        """
        if not len(texts):
            return np.zeros((0, self.size), dtype=np.float32)
        cut = [text[:_MAX_CHARACTERS] for text in texts]
        encoded = self._model.encode(cut, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, dtype=np.float32)


class CachedEncoder:
    """
    Remembers what another encoder made of the texts that it saw last: people repeat themselves.

    :param encoder: Encodes each distinct text of a call that isn't remembered, all in one batch
    :param capacity: How many texts are remembered
    """

    def __init__(self, encoder: TextEncoder, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: got {capacity}, expected at least 1.")
        self.encoder = encoder
        self.size = encoder.size
        self._capacity = capacity
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """
        :param texts: n texts
        :return: ``[n, size]``
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        fresh = dict(zip(new, self.encoder.encode(new), strict=True)) if new else {}
        rows = []
        for text in texts:
            if text in self._kept:
                self._kept.move_to_end(text)
                rows.append(self._kept[text])
            else:
                rows.append(fresh[text])
        self._kept.update(fresh)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, self.size), dtype=np.float32)


def check_encoded(encoded: Any, n_texts: int, size: int) -> np.ndarray:
    """
    :param encoded: What an encoder gave
    :param n_texts: How many texts it got
    :param size: The length that it says its vectors have
    :return: The same
    :raises FeedbackError: If it is something else
    """
    array = np.asarray(encoded, dtype=np.float32)
    if array.shape != (n_texts, size) or not np.isfinite(array).all():
        raise FeedbackError(f"encoder: gave {array.shape}, expected finite numbers of shape {(n_texts, size)}, a row a text.")
    return array
