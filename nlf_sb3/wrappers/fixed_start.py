"""Start every episode from the same state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class FixedStart(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Resets the environment with one seed, whatever seed it is given.

    :param env: The environment
    :param start_seed: The seed of every reset
    """

    def __init__(self, env: gym.Env, start_seed: int) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, start_seed=start_seed)
        gym.Wrapper.__init__(self, env)
        self.start_seed = start_seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=self.start_seed, options=options)
