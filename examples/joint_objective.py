"""Label every step with an expert's action and train with the joint objective: the five lines of the README."""

import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy

from nlf_sb3 import PPO, FeedbackWrapper, presets
from nlf_sb3.teachers import ExpertTeacher, LQRExpert

env = gym.make("InvertedPendulum-v5")
expert = LQRExpert.from_env(env, std=0.1)
model = PPO(env=FeedbackWrapper(env, ExpertTeacher(expert)), seed=1, **presets.feedback("PPO"))
model.learn(4_000)

mean, std = evaluate_policy(model, gym.make("InvertedPendulum-v5"), n_eval_episodes=5, warn=False)
print(f"after 4,000 steps and {model.num_expert_queries:,} labels: return {mean:.0f} +/- {std:.0f} (1,000 is the most)")
