"""Random streams that share a seed and nothing else."""

from __future__ import annotations

import numpy as np


def derived_generator(seed: int | None, purpose: str) -> np.random.Generator:
    """
    A generator that is independent of every other purpose's under the same seed.

    ``default_rng(seed)`` itself is left to the environment, whose own generator it is in Gymnasium:
    an expert that drew from it would repeat the environment's, or the agent's, very numbers.

    :param seed: The user's seed; None for a random one
    :param purpose: What the numbers are for
    :return: The generator
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode())))


def derived_seed(seed: int | None, purpose: str) -> int | None:
    """
    :param seed: The user's seed
    :param purpose: What the seed is for
    :return: A seed that is independent of every other purpose's; None for None
    """
    return None if seed is None else int(derived_generator(seed, purpose).integers(2**31))
