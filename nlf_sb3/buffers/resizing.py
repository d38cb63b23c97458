"""Give a rollout buffer of SB3 or sb3-contrib another size."""

from __future__ import annotations

from typing import Any


def resize_rollout_buffer(buffer: Any, n_steps: int) -> None:
    """
    Empty a rollout buffer, and let it hold another number of steps from now on.

    :param buffer: SB3's or sb3-contrib's, whatever it holds
    :param n_steps: Steps of each environment
    """
    buffer.buffer_size = n_steps
    if hasattr(buffer, "hidden_state_shape"):  # RecurrentPPO's has it from its maker
        buffer.hidden_state_shape = (n_steps, *buffer.hidden_state_shape[1:])
    buffer.reset()
