"""Identity environments with reward bars: feedback reaches them in few steps, and plain training doesn't."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from learners import ALGORITHMS, learner
from sb3_contrib.common.envs import InvalidActionEnvDiscrete, InvalidActionEnvMultiBinary, InvalidActionEnvMultiDiscrete
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_within_masks
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox, IdentityEnvMultiBinary, IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.teachers import Expert, ExpertTeacher

EPISODE = 20


def seeded(kind: Any) -> Any:
    """An identity environment whose states come from the reset seed; SB3's draw them from an unseeded space."""

    class Seeded(kind):
        def reset(self, *, seed=None, options=None):
            if seed is not None:
                self.action_space.seed(seed)
            return super().reset(seed=seed, options=options)

    return Seeded


ENVIRONMENTS = {
    "discrete": lambda: seeded(IdentityEnv)(dim=8, ep_length=EPISODE),
    "box": lambda: seeded(IdentityEnvBox)(eps=0.1, ep_length=EPISODE),
    "multidiscrete": lambda: seeded(IdentityEnvMultiDiscrete)(dim=4, ep_length=EPISODE),
    "multibinary": lambda: seeded(IdentityEnvMultiBinary)(dim=4, ep_length=EPISODE),
    "masked discrete": lambda: seeded(InvalidActionEnvDiscrete)(dim=8, n_invalid_actions=2, ep_length=EPISODE),
    "masked multidiscrete": lambda: seeded(InvalidActionEnvMultiDiscrete)(dims=[4, 4], n_invalid_actions=2, ep_length=EPISODE),
    "masked multibinary": lambda: seeded(InvalidActionEnvMultiBinary)(dims=4, n_invalid_actions=1, ep_length=EPISODE),
}
PLAIN_SPACES = ("discrete", "box", "multidiscrete", "multibinary")
CELLS = [
    *(
        (algorithm, space)
        for algorithm in ALGORITHMS
        if algorithm != "MaskablePPO"
        for space in PLAIN_SPACES
        if (algorithm, space) != ("RecurrentPPO", "multidiscrete")
    ),  # sb3-contrib's LSTM takes no MultiDiscrete observations
    *(("MaskablePPO", space) for space in ENVIRONMENTS if space.startswith("masked")),
]
SETTINGS: dict[str, dict[str, Any]] = {
    "REINFORCE": {"n_episodes": 2, "learning_rate": 2e-2},
    "A2C": {"n_steps": 10, "learning_rate": 2e-2},
    "PPO": {"n_steps": 40, "batch_size": 20, "n_epochs": 5, "learning_rate": 1e-2},
    "TRPO": {"n_steps": 40, "target_kl": 0.5, "cg_max_steps": 10},
    "RecurrentPPO": {"n_steps": 40, "batch_size": 40, "n_epochs": 5, "learning_rate": 3e-2},
    "MaskablePPO": {"n_steps": 40, "batch_size": 20, "n_epochs": 5, "learning_rate": 1e-2},
}


class Perfect(Expert):
    """Does what it sees."""

    label = "sample"

    def act(self, observations):
        return np.asarray(observations)


def make(algorithm, space, wrap=lambda env: env, **kwargs):
    env = DummyVecEnv([lambda: wrap(ENVIRONMENTS[space]())] * 2)
    env.seed(3)
    return learner(algorithm, env, **{"policy_kwargs": {"net_arch": [32]}, **SETTINGS[algorithm], **kwargs})


def mean_reward(model, space):
    """Reward for each step, at most 1."""
    env = DummyVecEnv([lambda: Monitor(ENVIRONMENTS[space]())])
    env.seed(11)
    evaluate = evaluate_within_masks if space.startswith("masked") else evaluate_policy
    return evaluate(model, env, n_eval_episodes=5, deterministic=True, warn=False)[0] / EPISODE


# --- the joint objective --------------------------------------------------------------------------------

STEPS: dict[Any, int] = {"REINFORCE": 600, "A2C": 600, ("RecurrentPPO", "multibinary"): 600}
JOINT_BAR = {"box": 0.55}
PLAIN_BAR = {"box": 0.45}


@pytest.mark.parametrize(("algorithm", "space"), CELLS)
def test_a_perfect_expert_s_labels_reach_the_bar_in_few_steps_and_plain_training_does_not(algorithm, space):
    steps = STEPS.get((algorithm, space), STEPS.get(algorithm, 400))
    joint = make(algorithm, space, alpha=0.1, expert=Perfect()).learn(steps)
    assert mean_reward(joint, space) >= JOINT_BAR.get(space, 0.95)
    plain = make(algorithm, space).learn(steps)
    assert mean_reward(plain, space) <= PLAIN_BAR.get(space, 0.85)


def test_labels_of_a_wrapper_reach_the_bar_too():
    def labelled(env):
        return FeedbackWrapper(env, ExpertTeacher(Perfect(), probability=0.5))

    assert mean_reward(make("PPO", "multidiscrete", labelled, alpha=0.1).learn(400), "multidiscrete") >= 0.95


def test_demonstrations_of_every_state_reach_the_bar():
    states = np.arange(8)
    model = make("A2C", "discrete", alpha=0.1, demonstrations=Demonstrations(states, states)).learn(400)
    assert mean_reward(model, "discrete") >= 0.95


# --- injection ----------------------------------------------------------------------------------------

INJECTED = [
    *((algorithm, "discrete") for algorithm in ALGORITHMS if algorithm not in ("MaskablePPO", "RecurrentPPO")),
    ("PPO", "multibinary"),
    ("MaskablePPO", "masked multidiscrete"),
]


def injected(algorithm, space, mode):
    """An identity environment that is played on by the expert, and what REINFORCE needs for takeovers."""

    class Within(Perfect):
        def act_within(self, observations, action_masks):
            return np.asarray(observations)

    def fork(env):
        return TrajectoryInjection(env, Within(), 0.2, twin=ENVIRONMENTS[space])

    def takeover(env):
        return TrajectoryInjection(env, Within(), 0.1, mode="takeover")

    settings = {"baseline": True} if algorithm == "REINFORCE" else {}
    return make(algorithm, space, {"fork": fork, "takeover": takeover}[mode], **settings)


@pytest.mark.parametrize("mode", ["fork", "takeover"])
@pytest.mark.parametrize(("algorithm", "space"), INJECTED)
def test_injected_trajectories_reach_the_bar_in_few_steps_and_plain_training_does_not(algorithm, space, mode):
    assert mean_reward(injected(algorithm, space, mode).learn(400), space) >= 0.85
    assert mean_reward(make(algorithm, space).learn(400), space) <= 0.8
