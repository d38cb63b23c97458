"""Let a guide act for the first steps of every episode, out of the learner's sight."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from nlf_sb3.teachers import Expert
from nlf_sb3.wrappers.asking import MaskReader, ask_expert


class JumpStart(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Hands episodes over to the agent when a guide has taken their first steps, as Jump-Start RL wants it
    (Uchendu et al., 2022, https://arxiv.org/abs/2204.02372).

    The guide's steps happen in ``reset``, which returns the observation that they lead to. An episode that ends under the
    guide is begun again with half as many of its steps. A Monitor inside this wrapper counts the guide's rewards too.

    :param env: The environment
    :param guide: Who acts first
    :param guide_steps: For how many steps; an attribute, which may change between episodes
    """

    def __init__(self, env: gym.Env, guide: Expert, guide_steps: int = 0) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, guide=guide, guide_steps=guide_steps)
        gym.Wrapper.__init__(self, env)
        self.guide = guide
        self.guide_steps = guide_steps
        self.num_guide_steps = 0
        """Steps that the guide has taken in all."""
        self._action_masks = MaskReader(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        steps = self.guide_steps
        while (led := self._lead(observation, info, steps)) is None:
            steps //= 2
            observation, info = self.env.reset(options=options)
        return led

    def _lead(self, observation: Any, info: dict[str, Any], steps: int) -> tuple[Any, dict[str, Any]] | None:
        """Where so many steps of the guide's lead; None if the episode ends on the way."""
        for _ in range(steps):
            action = ask_expert(self.guide, observation, self.env.action_space, self._action_masks())
            observation, _, terminated, truncated, info = self.env.step(action)
            self.num_guide_steps += 1
            if terminated or truncated:
                return None
        return observation, info
