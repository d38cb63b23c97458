"""The presets learn the pendulum from an expert within a few thousand steps."""

from importlib.resources import files

import gymnasium as gym
import pytest
from helpers import PENDULUM, cartpole_expert, pendulum_expert
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold

import nlf_sb3
from nlf_sb3 import presets

BUDGET = 6_000


@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "PPO", "TRPO", "RecurrentPPO", "MaskablePPO"])
def test_feedback_learns_fast(algorithm):
    env_id, solved = ("CartPole-v1", 475) if algorithm == "MaskablePPO" else (PENDULUM, 950)
    arguments = {**presets.feedback(algorithm), "seed": 1, "device": "cpu"}
    expert = cartpole_expert if algorithm == "MaskablePPO" else pendulum_expert
    model = getattr(nlf_sb3, algorithm)(env=gym.make(env_id), expert=expert, **arguments)
    more = {"use_masking": False} if algorithm == "MaskablePPO" else {}
    reached = StopTrainingOnRewardThreshold(solved)
    evaluation = EvalCallback(gym.make(env_id), callback_on_new_best=reached, eval_freq=500, n_eval_episodes=3, verbose=0)
    model.learn(BUDGET, callback=evaluation, **more)
    assert evaluation.best_mean_reward >= solved


def test_injection_learns_fast():
    env = gym.make(PENDULUM)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}  # pickles of a newer NumPy
    file = str(files("nlf_sb3") / "assets/experts/InvertedPendulum-v5/100.zip")
    expert = nlf_sb3.teachers.PolicyExpert.load(file, custom_objects=spaces)
    env = nlf_sb3.TrajectoryInjection(env, expert, max_segment_steps=200)
    model = nlf_sb3.PPO(env=env, seed=1, device="cpu", **presets.injection("PPO"))
    reached = StopTrainingOnRewardThreshold(950)
    evaluation = EvalCallback(gym.make(PENDULUM), callback_on_new_best=reached, eval_freq=200, n_eval_episodes=3, verbose=0)
    model.learn(BUDGET, callback=evaluation)
    assert evaluation.best_mean_reward >= 950


@pytest.mark.parametrize("preset", [presets.feedback, presets.injection, presets.paper])
def test_another_algorithm_is_refused(preset):
    with pytest.raises(ValueError, match="SAC"):
        preset("SAC")
