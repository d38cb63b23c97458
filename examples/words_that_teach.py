"""
Learn to balance a pole from words: no expert action and no reward reaches the learner. Then read an episode beside what the
teacher says of it and what the agent makes of that.

    python examples/words_that_teach.py
    python examples/words_that_teach.py --person      # you do the talking
"""

import argparse

import gymnasium as gym
import numpy as np

from nlf_sb3 import PPO, FeedbackWrapper, presets
from nlf_sb3.teachers import ConsoleTeacher, SpeakingTeacher
from nlf_sb3.text import ActionNames, Dimension, Remarks, RuleInterpreter, correction_targets

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2_000)
parser.add_argument("--person", action="store_true", help="answer at the terminal in the place of the simulated teacher")
arguments = parser.parse_args()


def lean(observations):
    """Push the cart under the pole: an expert that only the teacher sees."""
    return (observations @ np.array([0.1, 0.3, 3.0, 1.0]) > 0).astype(np.int64)


env = gym.make("CartPole-v1")
names = ActionNames(env.action_space, [Dimension("push", low="left", high="right")])
speaker = SpeakingTeacher(lean, names)
interpreter = RuleInterpreter(names)
teacher = ConsoleTeacher(names, interpreter=interpreter) if arguments.person else speaker
settings = {**presets.feedback("PPO"), "alpha": 0.0, "interpreter": interpreter}
heard = FeedbackWrapper(env, teacher, score_as_reward="replace")  # words bring no score, so that every reward is 0
model = PPO(env=heard, seed=1, **settings).learn(arguments.steps)

print("what was done, what the teacher said of it, and what it is read as:")
watched = FeedbackWrapper(env, speaker)
observation, _ = watched.reset(seed=1)
steps, done = 0, False
while not done:
    action, _ = model.predict(observation, deterministic=steps > 8)
    observation, _, terminated, truncated, info = watched.step(action)
    steps, done = steps + 1, terminated or truncated
    if steps <= 8:
        remark = Remarks([info["feedback"].text], [info["feedback"].text_kind], np.array([action]))
        reading = interpreter.interpret(remark)
        target = correction_targets(names, remark.actions, reading)
        print(
            f"  {('left', 'right')[int(action)]:>5}  {remark.texts[0]:<45} -> {('left', 'right')[int(target.actions[0])]:>5}, "
            f"weight {target.weights[0]:+.2f}"
        )
print(f"return {steps} of 500, after {arguments.steps} steps of listening")
