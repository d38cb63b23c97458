"""On-policy algorithms of Stable-Baselines3 and sb3-contrib that learn from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nlf_sb3.algorithms.a2c import A2C
from nlf_sb3.algorithms.mixin import FeedbackMixin
from nlf_sb3.algorithms.ppo import PPO
from nlf_sb3.algorithms.reinforce import REINFORCE
from nlf_sb3.errors import require
from nlf_sb3.policies import SoftplusGaussianPolicy

if TYPE_CHECKING:
    from nlf_sb3.algorithms.maskable_ppo import MaskablePPO
    from nlf_sb3.algorithms.recurrent_ppo import RecurrentPPO
    from nlf_sb3.algorithms.trpo import TRPO

__all__ = [
    "A2C",
    "PPO",
    "REINFORCE",
    "TRPO",
    "FeedbackMixin",
    "MaskablePPO",
    "RecurrentPPO",
    "SoftplusGaussianPolicy",
]

_OF_CONTRIB = {"MaskablePPO": "maskable_ppo", "RecurrentPPO": "recurrent_ppo", "TRPO": "trpo"}


def __getattr__(name: str) -> Any:
    """sb3-contrib is an extra: its algorithms are imported when they are first asked for."""
    if name not in _OF_CONTRIB:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("sb3_contrib", "contrib", name)
    return getattr(require(f"nlf_sb3.algorithms.{_OF_CONTRIB[name]}", "contrib", name), name)
