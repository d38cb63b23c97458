"""Fork an expert off the agent's trajectory, and train on both."""

import gymnasium as gym

from nlf_sb3 import REINFORCE, TrajectoryInjection, presets
from nlf_sb3.teachers import LQRExpert

env = gym.make("InvertedPendulum-v5")
expert = LQRExpert.from_env(env, std=0.1)
env = TrajectoryInjection(env, expert, fork_probability=0.4)
model = REINFORCE(env=env, seed=1, **presets.feedback("REINFORCE"))
model.learn(1_000)

first, last = model.ep_info_buffer[0]["r"], model.ep_info_buffer[-1]["r"]
print(f"{model.num_timesteps:,} agent steps, {model.num_expert_steps:,} expert steps: return {first:.0f} -> {last:.0f}")
