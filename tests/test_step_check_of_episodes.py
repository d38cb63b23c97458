"""An expert's whole episodes have the rewards, observations, ends and time of the agent's, or are refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import Capture, ToyEnv, box_expert
from learners import learner
from odd_wrappers import (
    Delays,
    EndsEarly,
    GoesOn,
    ScalesObservations,
    ScalesRewards,
    SignsRewards,
    Waits,
    WaitsSilently,
    forked,
    refuse,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, Injection, TrajectoryInjection, TwinError
from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.objectives.injected_rows import build_injected_rows
from nlf_sb3.objectives.policy_rows import PolicyRows
from nlf_sb3.vec_envs import to_policy_rewards


@pytest.mark.parametrize(
    ("outer", "words"),
    [
        (ScalesRewards, "it returned the reward"),
        (SignsRewards, "it returned the reward"),
        (gym.wrappers.NormalizeReward, "it returned the reward"),
        (ScalesObservations, "its observation holds"),
        (Delays, "its observation holds"),
        (EndsEarly, "its episode went on where the learner's ended"),
        (GoesOn, "its episode ended where the learner's went on"),
        (Waits, "its episode is 3 steps old where the learner's is 1"),
        (WaitsSilently, "its episode is 3 steps old where the learner's is 1"),
    ],
)
@pytest.mark.parametrize("normalised", [False, True])
def test_forks_refuse_other_rewards_observations_and_ends(outer, words, normalised):
    env = DummyVecEnv([lambda: Monitor(outer(forked()))])
    model = learner("PPO", VecNormalize(env) if normalised else env)
    refuse(model, "TrajectoryInjection of environment 0", words, f"{outer.__name__} is around it", "inside")


def test_a_termination_that_becomes_a_time_limit_is_refused_around_forks():
    class Truncates(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, False, terminated or truncated, info

    env = DummyVecEnv([lambda: Truncates(forked(ends="terminated"))])
    refuse(learner("PPO", env), "its episode was terminated", "Truncates")


def test_rewards_of_episodes_that_are_only_imitated_may_be_others():
    env = DummyVecEnv([lambda: ScalesRewards(forked())])
    assert learner("PPO", env, injection=Injection(segments="imitate")).learn(48).num_expert_steps > 0


@pytest.mark.parametrize("algorithm", ["PPO", "REINFORCE"])
def test_a_training_that_goes_on_in_the_middle_of_an_episode_is_no_fault(algorithm):
    model = learner(algorithm, VecNormalize(DummyVecEnv([lambda: forked((9, 9))] * 2)))
    model.learn(30)
    model.learn(40, callback=lambda found, _: found["self"].num_timesteps < 50, reset_num_timesteps=False)
    model.learn(40, reset_num_timesteps=False)
    assert model.num_timesteps > 60


@pytest.mark.parametrize(
    "chain",
    [
        lambda env: VecNormalize(VecNormalize(env, gamma=0.9), clip_obs=2.0),
        lambda env: VecNormalize(VecNormalize(env, norm_obs=False), norm_reward=False),
        lambda env: VecFrameStack(VecNormalize(env), 3),
        lambda env: VecNormalize(VecMonitor(VecFrameStack(env, 2)), clip_reward=0.5),
    ],
)
def test_known_wrappers_of_vectorised_environments_are_followed(chain):
    model = learner("PPO", chain(DummyVecEnv([forked] * 2)))
    assert model.learn(72).num_expert_steps > 0


class Paid(gym.Env):
    """Pays 3 in each of an episode's 4 steps, whatever is done."""

    observation_space, action_space = spaces.Box(-1, 9, (1,), np.float32), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), 3.0, self.count == 4, False, {}


def two_normalisations(env):
    return VecNormalize(VecNormalize(env, norm_obs=False, gamma=0.5), norm_obs=False, gamma=0.8)


def test_returns_of_two_normalisations_have_the_scale_of_the_agent_s():
    env = DummyVecEnv([lambda: TrajectoryInjection(Paid(), lambda rows: np.zeros(len(rows), int), 1.0, twin=Paid)])
    env = two_normalisations(env)
    model = learner("REINFORCE", env, n_episodes=1, gamma=0.5)
    model.learn(100)
    env.training = env.venv.training = False  # from here on, statistics are the same for all steps
    capture = Capture()
    model.learn(8, callback=capture, reset_num_timesteps=False)
    rollout = capture.rollouts[-1]
    injected = build_injected_rows(
        rollout.policy,
        env,
        rollout.segments,
        make_rows=lambda observations, actions, starts, masks: PolicyRows(rollout.policy, observations, actions),
        gamma=0.5,
        agents_advantages=AdvantageScale(0.0, 1.0, normalises=False),
        use_critic=False,
        bootstrap_at_time_limit=False,
        bounded=False,
    )
    assert rollout.returns.numpy() != pytest.approx(3.0 * np.array([1.875, 1.75, 1.5, 1.0]), rel=0.1)
    assert injected.returns.numpy() == pytest.approx(rollout.returns.numpy(), rel=1e-5)


@pytest.mark.parametrize(
    "chain",
    [
        two_normalisations,
        lambda env: VecNormalize(VecMonitor(VecNormalize(env, clip_reward=1.1)), clip_reward=0.3),
        lambda env: VecNormalize(VecNormalize(env), norm_reward=False),
        lambda env: VecNormalize(VecNormalize(env, norm_reward=False)),
    ],
)
def test_rewards_pass_every_normalisation(chain):
    env = chain(DummyVecEnv([ToyEnv] * 3))
    env.reset()
    for _ in range(20):
        rewards = env.step(np.ones((3, 2), np.float32))[1]
    inner = env
    while isinstance(inner.venv, VecEnvWrapper):
        inner = inner.venv
    own = inner.get_original_reward()
    assert np.abs(own - rewards).max() > 0.01
    np.testing.assert_allclose(to_policy_rewards(env, own), rewards, rtol=1e-5)


class AdaptsRewards(gym.Wrapper):
    """Divides rewards by the largest so far."""

    largest = 1e-3

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.largest = max(self.largest, abs(float(reward)))
        return observation, float(reward) / self.largest, *rest


@pytest.mark.parametrize("inner", [gym.wrappers.NormalizeReward, gym.wrappers.NormalizeObservation])
def test_statistics_inside_a_fork_are_refused_by_name(inner):
    def one():
        return Monitor(inner(ToyEnv()))

    with pytest.raises(TwinError, match=rf"{inner.__name__} normalises by what it has met.*VecNormalize"):
        TrajectoryInjection(one(), box_expert, 1.0, twin=one)
    for env, twin in ((one(), ToyEnv), (ToyEnv(), one)):
        with pytest.raises(TwinError, match=f"{inner.__name__} normalises by what it has met"):
            TrajectoryInjection(env, box_expert, twin=twin)


class TenTimes(gym.RewardWrapper):
    def reward(self, reward):
        return 10.0 * float(reward)


@pytest.mark.parametrize("outer", [TenTimes, lambda env: gym.wrappers.TimeLimit(env, 3)])
def test_wrappers_that_a_twin_has_not_are_refused(outer):
    with pytest.raises(TwinError, match="Give both the same"):
        TrajectoryInjection(outer(ToyEnv()), box_expert, 1.0, twin=ToyEnv)
    with pytest.raises(TwinError, match="Give both the same"):
        TrajectoryInjection(ToyEnv(), box_expert, 1.0, twin=lambda: outer(ToyEnv()))
    TrajectoryInjection(Monitor(outer(ToyEnv())), box_expert, 1.0, twin=lambda: outer(ToyEnv()))


def test_rewards_that_a_twin_scales_in_another_way_are_refused():
    def one():
        return AdaptsRewards(ToyEnv())

    env = DummyVecEnv([lambda: TrajectoryInjection(one(), box_expert, 0.3, twin=one)])
    with pytest.raises(FeedbackError, match=r"the twin's rewards are others than the agent's.*VecNormalize"):
        learner("PPO", env).learn(200)


def test_scores_that_are_not_the_same_again_may_pay_an_expert():
    def one():
        counts = iter(range(1000))
        return FeedbackWrapper(ToyEnv(), lambda step: Feedback(score=float(next(counts))), score_as_reward="replace")

    env = DummyVecEnv([lambda: TrajectoryInjection(one(), box_expert, 0.3, twin=one)])
    assert learner("PPO", env).learn(96).num_expert_steps > 0
