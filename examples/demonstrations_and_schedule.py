"""Learn from recorded rows while imitation fades out, with several environments and normalised observations."""

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from nlf_sb3 import PPO, Demonstrations, LinearSchedule

demonstrator = gym.make("CartPole-v1")
observations, actions = [], []
observation, _ = demonstrator.reset(seed=0)
for _ in range(500):
    observations.append(observation)
    actions.append(int(observation[2] + observation[3] > 0))
    observation, _, terminated, truncated, _ = demonstrator.step(actions[-1])
    if terminated or truncated:
        observation, _ = demonstrator.reset()

env = VecNormalize(make_vec_env("CartPole-v1", n_envs=4, seed=0))
model = PPO(
    "MlpPolicy",
    env,
    n_steps=128,
    alpha=LinearSchedule(0.1, 1.0),
    demonstrations=Demonstrations(np.array(observations), np.array(actions), label="mode"),
    seed=0,
    device="cpu",
)
model.learn(8_000)
print(f"mean return of the last episodes: {np.mean([e['r'] for e in list(model.ep_info_buffer)[-20:]]):.0f}")
