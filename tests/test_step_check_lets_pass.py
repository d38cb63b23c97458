"""Wrappers around ours that leave the learner's steps what they are: allowed, and labels belong to their rows."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.wrappers import ClipAction, NormalizeObservation, NormalizeReward, RecordEpisodeStatistics, TimeLimit
from helpers import ToyEnv
from learners import learner
from odd_wrappers import (
    INNER,
    Delays,
    DropsInfos,
    EndsEarly,
    GoesOn,
    ScalesObservations,
    ScalesRewards,
    SignsRewards,
    ToldInfos,
    Waits,
    WaitsSilently,
    forked,
    labelled,
)
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.atari_wrappers import NoopResetEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper


class Count(gym.Env):
    """Observes how many steps it has taken and been reset in all; an episode ends after 7 steps."""

    observation_space = spaces.Box(0, 1e6, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self):
        self.time = self.resets = 0

    def _observe(self):
        return np.array([self.time, self.resets], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.resets = 0, self.resets + 1
        return self._observe(), {}

    def step(self, action):
        self.time, self.steps = self.time + 1, self.steps + 1
        return self._observe(), 1.0, self.steps == 7, False, {}

    def get_action_meanings(self):
        return ["NOOP"]


class CountWithNoop(Count):
    """Takes Atari's numbers as actions too: its wrappers wait with 0."""

    def step(self, action):
        return super().step(np.broadcast_to(action, (2,)))


class Labels(BaseCallback):
    """Keeps a rollout's observations and labels as they are when it ends: a label says what its teacher observed."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        is_labelled = buffer.label_kinds > 0
        self.observed = 1e3 * buffer.label_actions[is_labelled]
        self.beside = buffer.observations[is_labelled].copy()


def says_its_observation(steps_ago=0, every=1):
    """A teacher whose label is the observation of some steps ago, in thousandths."""
    seen = []

    def teach(step):
        seen.append(step.observation / 1e3)
        if len(seen) <= steps_ago or len(seen) % every:
            return None
        return Feedback(expert_action=seen[-1 - steps_ago], steps_ago=steps_ago)

    return teach


ALLOWED = [
    Monitor,
    RecordEpisodeStatistics,
    ToldInfos,
    DropsInfos,
    ScalesRewards,
    SignsRewards,
    NormalizeReward,
    EndsEarly,
    Waits,
    WaitsSilently,
    lambda env: TimeLimit(env, 4),
    lambda env: NormalizeReward(ToldInfos(Monitor(env))),
]


@pytest.mark.parametrize("steps_ago", [0, 2])
@pytest.mark.parametrize("outer", ALLOWED)
def test_labels_lie_beside_their_observations(outer, steps_ago):
    env = DummyVecEnv([lambda: outer(FeedbackWrapper(Count(), says_its_observation(steps_ago)))])
    found = Labels()
    learner("PPO", env, n_steps=40, batch_size=40).learn(40, callback=found)
    assert len(found.observed) > 20
    np.testing.assert_allclose(found.observed, found.beside, rtol=1e-5)


def test_labels_of_steps_that_a_reset_took_are_left_out():
    def counted(outer):
        found = Labels()
        env = DummyVecEnv([lambda: outer(FeedbackWrapper(Count(), says_its_observation(1)))])
        learner("PPO", env, n_steps=40, batch_size=40).learn(40, callback=found)
        return found

    assert len(counted(Monitor).observed) == 39
    waited = counted(Waits)  # two of each episode's seven steps: the first of the others speaks of one of those
    np.testing.assert_allclose(waited.observed, waited.beside, rtol=1e-5)
    assert len(waited.observed) == 40 - 8


@pytest.mark.parametrize("outer", [ScalesObservations, Delays, NormalizeObservation, GoesOn])
@pytest.mark.parametrize("inner", ["labels", "takeover", "guide", "labels on takeovers"])
def test_other_observations_and_ends_leave_labels_and_takeovers_right(inner, outer):
    """A label is for the action taken at this time, whatever the policy sees of the state."""
    model = learner("PPO", DummyVecEnv([lambda: outer(INNER[inner]())] * 2)).learn(48)
    assert model.num_expert_queries + model.num_expert_steps > 0


class Episodes(BaseCallback):
    """Keeps the expert's episodes that each rollout trains on."""

    def _on_training_start(self):
        self.found = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.found += [segment for segment, _ in self.model.rollout_buffer.segments]


def episodes_within(outer):
    """What forks bring to a policy that stays as it is, by the observation that they begin with."""
    episodes = Episodes()
    model = learner("PPO", DummyVecEnv([lambda: outer(forked())] * 2), learning_rate=0.0).learn(96, callback=episodes)
    assert model.num_expert_steps == sum(len(one) - one.fork_step for one in episodes.found)
    return {tuple(one.observations[0]): one for one in episodes.found}


@pytest.mark.parametrize(("outer", "least"), [(Monitor, 1.0), (RecordEpisodeStatistics, 1.0), (DropsInfos, 0.3)])
def test_forks_stay_right_where_infos_alone_change(outer, least):
    expected, found = episodes_within(lambda env: env), episodes_within(outer)
    assert len(expected) >= 10
    assert len(found) >= least * len(expected)
    for start, episode in found.items():
        np.testing.assert_array_equal(episode.observations, expected[start].observations)
        np.testing.assert_array_equal(episode.rewards, expected[start].rewards)
        assert (episode.terminated, episode.truncated) == (expected[start].terminated, expected[start].truncated)


def test_forks_that_a_wrapper_drops_train_nothing():
    assert episodes_within(ToldInfos) == {}


def test_resets_that_act_are_allowed_around_labels():
    found = Labels()
    env = DummyVecEnv([lambda: NoopResetEnv(FeedbackWrapper(CountWithNoop(), says_its_observation()), 3)])
    learner("PPO", env, n_steps=40, batch_size=40).learn(40, callback=found)
    assert len(found.observed) == 40
    np.testing.assert_allclose(found.observed, found.beside, rtol=1e-5)


def test_a_clip_to_the_learner_s_own_bounds_is_allowed():
    class Clips(gym.Wrapper):
        def step(self, action):
            return self.env.step(np.clip(action, -1.0, 1.0))

    outer = ClipAction if ClipAction(ToyEnv()).action_space == ToyEnv().action_space else Clips
    assert learner("PPO", DummyVecEnv([lambda: outer(labelled())])).learn(24).num_expert_queries == 24


def test_a_clip_that_changes_actions_is_refused_when_it_does():
    class ClipsMore(gym.Wrapper):
        def step(self, action):
            return self.env.step(np.clip(action, -0.1, 0.1))

    with pytest.raises(FeedbackError, match=r"the learner's action .* ClipsMore is around it"):
        learner("PPO", DummyVecEnv([lambda: ClipsMore(labelled())])).learn(24)


@pytest.mark.parametrize(
    "chain",
    [
        VecMonitor,
        VecNormalize,
        lambda env: VecFrameStack(VecNormalize(env), 2),
        lambda env: VecNormalize(VecNormalize(env)),
    ],
)
@pytest.mark.parametrize("inner", ["labels", "takeover"])
def test_wrappers_of_vectorised_environments_are_allowed(chain, inner):
    model = learner("PPO", chain(DummyVecEnv([INNER[inner]] * 2))).learn(48)
    assert model.num_expert_queries + model.num_expert_steps > 0


class Rotates(VecEnvWrapper):
    """Gives each environment to another row after every step, and its next action with it."""

    def reset(self):
        self.shift = 0
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(np.roll(actions, self.shift, axis=0))

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        self.shift = (self.shift + 1) % self.num_envs
        turned = [np.roll(part, -self.shift, axis=0) for part in (observations, rewards, dones)]
        return *turned, infos[self.shift :] + infos[: self.shift]


def test_infos_of_other_rows_than_the_actions_are_refused():
    env = Rotates(DummyVecEnv([labelled] * 3))
    with pytest.raises(FeedbackError, match=r"the learner's action .* Rotates is around it"):
        learner("PPO", env).learn(24)


def test_other_processes_may_have_wrappers_that_change_no_step():
    env = SubprocVecEnv([lambda: TimeLimit(ScalesRewards(labelled()), 4)] * 2, start_method="fork")
    try:
        assert learner("PPO", env).learn(24).num_expert_queries == 24
    finally:
        env.close()


class AsksThePolicy(BaseCallback):
    """Asks the learner's policy about made-up observations, wherever a callback may."""

    def ask(self):
        with th.no_grad():
            self.model.policy(th.randn(1, *self.model.observation_space.shape))

    def _on_rollout_start(self):
        self.ask()

    def _on_step(self):
        self.ask()
        return True


class AsksTheLearner(gym.Wrapper):
    """Asks the learner's policy in each step, as a league does."""

    model = None

    def step(self, action):
        returned = self.env.step(action)
        if self.model is not None:
            AsksThePolicy.ask(self)
        return returned


@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "TRPO", "REINFORCE", "MaskablePPO"])
@pytest.mark.parametrize("action", ["multidiscrete", "multibinary"])
def test_the_policy_may_be_asked_by_others_too(algorithm, action):
    outer = AsksTheLearner(ActionMasker(ToyEnv(action), lambda env: np.ones(5 if action == "multidiscrete" else 4, bool)))
    env = labelled(outer, lambda observations: np.zeros((len(observations), 2), int))
    model = outer.model = learner(algorithm, DummyVecEnv([lambda: env]))
    model.learn(48, callback=AsksThePolicy())
    assert model.num_expert_queries >= 48
