"""A callback stops in the middle of a rollout, and training goes on: teachers and experts see what the agent acts in."""

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3 as sb3
from gymnasium import spaces
from helpers import assert_same_model
from learners import ALGORITHMS, learner
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper
from nlf_sb3.teachers import Expert

N_STEPS = 12


class Clock(gym.Env):
    """Observes how many steps it has taken in its life."""

    action_space = spaces.Discrete(2)
    vector = spaces.Box(-1e4, 1e4, (1,), np.float32)

    def __init__(self, is_dict=False, first=0, length=5):
        self.is_dict, self.life, self.length = is_dict, first, length
        self.observation_space = spaces.Dict({"a": self.vector, "b": self.vector}) if is_dict else self.vector

    def action_masks(self):
        return np.ones(2, dtype=bool)

    def _observation(self):
        self.life += 1
        vector = np.full(1, self.life, np.float32)
        return {"a": vector, "b": -vector} if self.is_dict else vector

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        return self._observation(), 1.0, self.steps >= self.length, False, {}


class Stop(BaseCallback):
    def __init__(self, after):
        super().__init__()
        self.after = after

    def _on_step(self):
        return self.n_calls < self.after


class Sees(Expert):
    """Keeps what it is shown."""

    def __init__(self):
        self.seen = []

    def act(self, observations):
        first = observations["a"] if isinstance(observations, dict) else observations
        self.seen.append(np.array(first))
        return np.zeros(len(first), dtype=int)


def watch_rollouts(model, env):
    """Keep, of each rollout, what the agent acted in, as VecNormalize's present statistics undo it."""
    kept, train = [], model.train

    def look():
        buffer = model.rollout_buffer
        observations = buffer.take_rows(buffer.observations, buffer.row_indices())
        raw = env.unnormalize_obs(observations)
        kept.append(raw["a"] if isinstance(raw, dict) else raw)
        train()

    model.train = look
    return kept


def normalized(env, **kwargs):
    return VecNormalize(env, norm_reward=False, clip_obs=1e6, **kwargs)


VEC_ENVS = {
    "one": lambda: normalized(DummyVecEnv([Clock])),
    "three": lambda: normalized(DummyVecEnv([lambda i=i: Clock(first=100 * i, length=4 + i) for i in range(3)])),
    "dict": lambda: normalized(DummyVecEnv([lambda: Clock(is_dict=True)]), norm_obs_keys=["a"]),
    "processes": lambda: normalized(SubprocVecEnv([lambda i=i: Clock(first=100 * i) for i in range(2)])),
    "stacked inside": lambda: normalized(VecFrameStack(DummyVecEnv([Clock]), 2)),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["one", "three", "dict"])
def test_an_expert_sees_what_the_agent_acts_in(algorithm, kind):
    check(algorithm, VEC_ENVS[kind]())


@pytest.mark.parametrize("kind", ["processes", "stacked inside"])
def test_it_does_behind_other_wrappers(kind):
    check("PPO", VEC_ENVS[kind]())


def check(algorithm, env):
    expert = Sees()
    model = learner(algorithm, env, expert=expert)
    model.learn(10_000, callback=Stop(N_STEPS + 7))
    env.training = False
    for again in (False, True):  # once stopped again, and once after a training that wasn't
        expert.seen.clear()
        acted_in = watch_rollouts(model, env)
        model.learn(N_STEPS * env.num_envs, reset_num_timesteps=False)
        del model.train
        newest = [rollout[:, -1:] for rollout in acted_in]
        for seen, own in zip(expert.seen, newest, strict=True):
            np.testing.assert_allclose(seen, own, atol=0.2)  # the clock goes on by one
        if not again:
            model.learn(10_000, callback=Stop(3), reset_num_timesteps=False)
    env.close()


def test_statistics_may_go_on_moving_and_counting_may_start_anew():
    env, expert = VEC_ENVS["one"](), Sees()
    model = learner("PPO", env, expert=expert)
    model.learn(10_000, callback=Stop(N_STEPS + 7))
    for reset in (False, True, False):
        expert.seen.clear()
        now = float(env.get_attr("life")[0])
        model.learn(N_STEPS, reset_num_timesteps=reset)
        rows = expert.seen[0].ravel()
        assert rows[0] == now + reset  # where the environment is, or a step later at its reset
        assert (np.diff(rows) > 0).all()


def test_another_environment_in_between_starts_with_its_own():
    first, second, expert = VEC_ENVS["one"](), normalized(DummyVecEnv([lambda: Clock(first=500)])), Sees()
    model = learner("PPO", first, expert=expert)
    model.learn(10_000, callback=Stop(N_STEPS + 7))
    model.set_env(second)
    expert.seen.clear()
    model.learn(N_STEPS, reset_num_timesteps=False)
    assert expert.seen[0].min() == 501


def test_a_step_that_was_refused_leaves_the_expert_with_the_observation_before_it():
    class Refused(Clock):
        def step(self, action):
            *step, info = super().step(action)
            return *step, ({"feedback": Feedback} if self.life == 16 else info)

    env, expert = normalized(DummyVecEnv([Refused])), Sees()
    model = learner("PPO", env, expert=expert)
    with pytest.raises(FeedbackError):
        model.learn(100)
    expert.seen.clear()
    model.learn(N_STEPS, reset_num_timesteps=False)
    assert expert.seen[0].ravel()[:2].tolist() == [15, 17]  # the refused step led to 16


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_teacher_s_label_is_of_the_observation_that_the_agent_acted_in(algorithm):
    def life(transition):
        return Feedback(expert_action=int(transition.observation[0]) % 2)

    env = DummyVecEnv([lambda: FeedbackWrapper(Clock(), life)])
    model = learner(algorithm, env)
    model.learn(10_000, callback=Stop(N_STEPS + 7))
    looked = []
    train = model.train

    def look():
        buffer = model.rollout_buffer
        rows = buffer.row_indices()
        looked.append((buffer.take_rows(buffer.observations, rows)[:, 0], buffer.take_rows(buffer.label_actions, rows)))
        train()

    model.train = look
    model.learn(N_STEPS, reset_num_timesteps=False)
    for observations, labels in looked:
        np.testing.assert_array_equal(labels.ravel(), observations.ravel() % 2)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "REINFORCE"])
def test_without_teachers_a_stopped_training_goes_on_as_sb3_s(algorithm):
    package = sb3 if hasattr(sb3, algorithm) else sb3_contrib
    models = []
    for subclass in (None, getattr(package, algorithm)):
        model = learner(algorithm, VEC_ENVS["three"](), subclass=subclass)
        model.learn(10_000, callback=Stop(N_STEPS + 7))
        models.append(model.learn(2 * N_STEPS, reset_num_timesteps=False))
    assert_same_model(*models)
