"""Clone recorded behaviour into a PPO of Stable-Baselines3, fit its critic to the clone, and train on from there."""

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from nlf_sb3 import Demonstrations
from nlf_sb3.interop.imitation import warm_start

demonstrator = gym.make("CartPole-v1")
observations, actions = [], []
observation, _ = demonstrator.reset(seed=0)
for _ in range(1_000):
    observations.append(observation)
    actions.append(int(observation[2] + 0.4 * observation[3] + 0.1 * observation[1] > 0))
    observation, _, terminated, truncated, _ = demonstrator.step(actions[-1])
    if terminated or truncated:
        observation, _ = demonstrator.reset()

model = PPO("MlpPolicy", "CartPole-v1", n_steps=512, seed=0, device="cpu")
warm_start(model, Demonstrations(np.array(observations), np.array(actions)), n_batches=1_000, critic_steps=2_048)
before, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=5, deterministic=False)
model.learn(2_048)
after, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=5, deterministic=False)
print(f"mean return of the clone: {before:.0f}, after PPO: {after:.0f}")
