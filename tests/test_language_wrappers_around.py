"""Expected responses are paid as the agent's own are, or refused; without them a wrapper around may do as it likes."""

import numpy as np
import pytest

from nlf_sb3 import Injection

pytest.importorskip("transformers")

import gymnasium as gym
from language_helpers import reinforce, token_env
from odd_wrappers import Delays, ScalesRewards, SignsRewards
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from nlf_sb3 import FeedbackError

EXPECTED = {"expected_response": "ok"}


def wrapped(outer, info=None):
    return DummyVecEnv([lambda: Monitor(outer(token_env(info=info)))] * 2)


class Shortens(gym.Wrapper):
    """Pays less for each token."""

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, float(reward) - 0.1, *rest


@pytest.mark.parametrize(
    ("outer", "words"),
    [
        (ScalesRewards, "it returned the reward"),
        (SignsRewards, "it returned the reward"),
        (Shortens, "it returned the reward"),
        (gym.wrappers.NormalizeReward, "it returned the reward"),
        (Delays, "its observation holds"),
    ],
)
def test_expected_responses_in_another_scale_are_refused(outer, words):
    with pytest.raises(FeedbackError, match=rf"TokenLevel of environment \d: {words}.*{outer.__name__} is around it"):
        reinforce(wrapped(outer, EXPECTED)).learn(1)


@pytest.mark.parametrize("outer", [ScalesRewards, Shortens])
def test_rewards_may_be_others_without_expected_responses_and_where_these_are_imitated(outer):
    reinforce(wrapped(outer)).learn(1)
    assert reinforce(wrapped(outer, EXPECTED), injection=Injection(segments="imitate")).learn(1).num_expert_steps > 0


@pytest.mark.parametrize("chain", [VecMonitor, lambda env: VecNormalize(VecNormalize(env, norm_obs=False), norm_obs=False)])
def test_known_wrappers_of_vectorised_environments_are_followed(chain):
    model = reinforce(chain(wrapped(Monitor, EXPECTED))).learn(60)
    assert model.num_expert_steps > 0
    assert all(np.isfinite(parameter.detach().numpy()).all() for parameter in model.policy.parameters())
