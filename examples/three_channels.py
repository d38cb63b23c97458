"""Score, words and expected action about the same step, from three teachers; see what a step's info holds."""

import gymnasium as gym

from nlf_sb3 import A2C, FeedbackWrapper
from nlf_sb3.teachers import CallableExpert, ExpertTeacher, ScoreTeacher, TextTeacher, Transition

ANGLE = 2


def balance(observations):
    """Push towards the side that the pole falls to: observations [n, 4] to actions [n]."""
    return (observations[:, ANGLE] + observations[:, ANGLE + 1] > 0).astype(int)


def say(transition: Transition) -> str:
    side = "right" if transition.observation[ANGLE] > 0 else "left"
    return f"The pole leans {side}: push {side}."


teachers = [
    ScoreTeacher(lambda transition: 1.0 - abs(float(transition.observation[ANGLE]))),
    TextTeacher(say, text_kind="fp"),
    ExpertTeacher(CallableExpert(balance)),
]
env = FeedbackWrapper(gym.make("CartPole-v1"), teachers, score_as_reward=0.5)

env.reset(seed=0)
_, reward, _, _, info = env.step(0)
print(f"reward {reward:.2f} (the task's {info['task_reward']:.2f})\n{info['feedback']}")

model = A2C("MlpPolicy", env, alpha=0.5, seed=0, device="cpu").learn(3_000)
print(f"mean return of the last episodes: {sum(e['r'] for e in model.ep_info_buffer) / len(model.ep_info_buffer):.0f}")
