"""Demonstrations as plain arrays in a .npz file: nothing pickled, neither written nor read."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from nlf_sb3.errors import FeedbackError


def write_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """
    :param path: The file; ``.npz`` is appended where it is missing
    :param arrays: Arrays by name
    :raises FeedbackError: If an array can't be written without pickling, or its name is none for a file in an archive
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise FeedbackError(f"Demonstrations.save: {name} holds Python objects, expected numbers. Convert it first.")
        if "\0" in name or name.endswith(".npy"):
            raise FeedbackError(f"Demonstrations.save: {name!r} is no name for an array in a .npz. Rename that key.")
    np.savez_compressed(_with_suffix(path), **arrays)  # type: ignore[arg-type]


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """
    :param path: The file, with or without ``.npz``
    :return: All arrays, by name
    :raises FileNotFoundError: If there is no such file
    :raises FeedbackError: If it is another kind of file, or holds pickled objects
    """
    path = Path(path) if Path(path).exists() else _with_suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"Demonstrations.load: there is no {path}. Write one with Demonstrations.save.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, EOFError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        # Of a file of another kind, NumPy says how to unpickle it: that is no advice here.
        reason = error if isinstance(error, OSError) or zipfile.is_zipfile(path) else "it is no .npz, or a part of one"
        raise FeedbackError(
            f"Demonstrations.load: {path} can't be read as a .npz of plain arrays ({reason}). "
            "Write one with Demonstrations.save or np.savez; object arrays are refused."
        ) from error


def _with_suffix(path: str | Path) -> Path:
    return Path(path) if str(path).endswith(".npz") else Path(f"{path}.npz")
