"""On-policy algorithms of Stable-Baselines3 that learn from feedback."""

from nlf_sb3.algorithms.a2c import A2C
from nlf_sb3.algorithms.base import FeedbackAlgorithm
from nlf_sb3.algorithms.ppo import PPO
from nlf_sb3.algorithms.reinforce import REINFORCE
from nlf_sb3.policies import SoftplusGaussianPolicy

__all__ = ["A2C", "PPO", "REINFORCE", "FeedbackAlgorithm", "SoftplusGaussianPolicy"]
