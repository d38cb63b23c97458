"""Wrappers as people write them, each of which makes something else of a step, and what they are put around."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from helpers import ToyEnv, box_expert, teacher
from learners import parameters_of
from stable_baselines3.common.vec_env import VecEnvWrapper

from nlf_sb3 import FeedbackError, FeedbackWrapper, TrajectoryInjection


class Negates(gym.Wrapper):
    def step(self, action):
        return self.env.step(-action)


class Other(gym.Wrapper):
    """Of discrete actions, another one."""

    def step(self, action):
        return self.env.step((action + 1) % 3)


class Sticks(gym.Wrapper):
    """Every second step repeats the action before it, as sticky actions do."""

    before, count = None, 0

    def step(self, action):
        self.count += 1
        if self.count % 2 or self.before is None:
            self.before = action
        return self.env.step(self.before)


class Skips(gym.Wrapper):
    """Takes each action three times, and stops at an end."""

    def step(self, action):
        total = 0.0
        for _ in range(3):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class StepsFirst(gym.Wrapper):
    """Waits for a step before it acts."""

    def step(self, action):
        *_, terminated, truncated, _ = returned = self.env.step(0 * action)
        return returned if terminated or truncated else self.env.step(action)


class HoldsOn(gym.Wrapper):
    """Acts in every second step only, and says again what came before."""

    returned = None

    def reset(self, **kwargs):
        self.returned = None
        return self.env.reset(**kwargs)

    def step(self, action):
        held, self.returned = self.returned, None
        if held is None:
            held = self.env.step(action)
            self.returned = held if not (held[2] or held[3]) else None
        return held


class ScalesRewards(gym.Wrapper):
    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, 10 * float(reward), *rest


class SignsRewards(gym.Wrapper):
    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, float(np.sign(reward)), *rest


class ScalesObservations(gym.Wrapper):
    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        return 2 * observation, info

    def step(self, action):
        observation, *rest = self.env.step(action)
        return 2 * observation, *rest


class Delays(gym.Wrapper):
    """Observes what was seen one step ago."""

    def reset(self, **kwargs):
        self.seen, info = self.env.reset(**kwargs)
        return self.seen, info

    def step(self, action):
        before = self.seen
        self.seen, *rest = self.env.step(action)
        return before, *rest


class EndsEarly(gym.Wrapper):
    def reset(self, **kwargs):
        self.count = 0
        return self.env.reset(**kwargs)

    def step(self, action):
        self.count += 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or self.count == 2, truncated, info


class GoesOn(gym.Wrapper):
    """Resets by itself, and ends every fifth time."""

    ends = 0

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.ends += terminated or truncated
        if (terminated or truncated) and self.ends % 5:
            observation, _ = self.env.reset()
            terminated = truncated = False
        return observation, reward, terminated, truncated, info


class Waits(gym.Wrapper):
    """Takes two steps in each reset."""

    def reset(self, **kwargs):
        self.env.reset(**kwargs)
        self.env.step(np.zeros(2, np.float32))
        observation, *_, info = self.env.step(np.zeros(2, np.float32))
        return observation, info


class WaitsSilently(Waits):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], {}


class ToldInfos(gym.Wrapper):
    """Makes new infos, with notes of its own beside feedback."""

    def step(self, action):
        *rest, info = self.env.step(action)
        return *rest, {"note": 1, **{key: value for key, value in info.items() if key == "feedback"}}


class DropsInfos(gym.Wrapper):
    """Loses every third info."""

    count = 0

    def step(self, action):
        *rest, info = self.env.step(action)
        self.count += 1
        return *rest, info if self.count % 3 else {}


class NegatesAll(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(-actions)

    def step_wait(self):
        return self.venv.step_wait()


def labelled(env=None, expert=box_expert, **which):
    return FeedbackWrapper(ToyEnv(lengths=(7, 12)) if env is None else env, teacher(expert, **which))


def taken_over(mode):
    own = {"fork_probability": 0.3} if mode == "takeover" else {"guide_steps": 2}
    return TrajectoryInjection(ToyEnv(lengths=(7, 12)), box_expert, mode=mode, **own)


def forked(lengths=(7, 12), ends="both"):
    def one():
        return ToyEnv(lengths=lengths, ends=ends)

    return TrajectoryInjection(one(), box_expert, 0.3, twin=one)


INNER = {
    "labels": labelled,
    "takeover": lambda: taken_over("takeover"),
    "guide": lambda: taken_over("guide"),
    "fork": forked,
    "labels on takeovers": lambda: labelled(taken_over("takeover")),
    "takeovers with labels": lambda: TrajectoryInjection(labelled(), box_expert, 0.3, mode="takeover"),
}


def refuse(model, *words):
    """Raises before an update, with these words."""
    before = parameters_of(model).clone()
    with pytest.raises(FeedbackError) as caught:
        model.learn(200)
    assert bool((parameters_of(model) == before).all())
    for word in words:
        assert word in str(caught.value)
