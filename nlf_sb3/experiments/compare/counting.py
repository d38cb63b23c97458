"""Count the optimiser steps that something takes, whichever optimisers it makes."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook


class GradientSteps:
    """
    Counts every step of every optimiser while it is entered.

    >>> with GradientSteps() as gradient_steps:
    ...     pass
    >>> gradient_steps.count
    0
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> GradientSteps:
        self._hook = register_optimizer_step_post_hook(self._step)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _step(self, *_: Any) -> None:
        self.count += 1
