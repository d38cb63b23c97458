"""A wrapper around ours that makes another step of the learner's is seen by what it does, in every process."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import ToyEnv, discrete_expert
from learners import learner
from odd_wrappers import INNER, HoldsOn, Negates, NegatesAll, Other, Skips, StepsFirst, Sticks, labelled, refuse
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", [Negates, Sticks])
def test_another_action_than_the_learner_s_is_refused(inner, outer):
    model = learner("PPO", DummyVecEnv([lambda: Monitor(outer(INNER[inner]()))] * 2))
    refuse(model, "the learner's action", outer.__name__, "inside")


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", [Skips, StepsFirst, HoldsOn])
def test_another_number_of_steps_than_the_learner_s_is_refused(inner, outer):
    model = learner("PPO", DummyVecEnv([lambda: outer(INNER[inner]())]))
    refuse(model, "where the learner", outer.__name__, "inside")


@pytest.mark.parametrize("algorithm", ["A2C", "TRPO", "REINFORCE", "RecurrentPPO"])
def test_every_algorithm_refuses(algorithm):
    refuse(learner(algorithm, DummyVecEnv([lambda: Negates(labelled())])), "the learner's action", "Negates")
    refuse(learner(algorithm, DummyVecEnv([lambda: Skips(labelled())])), "it took 3 steps where the learner took 1", "Skips")


@pytest.mark.parametrize("algorithm", ["PPO", "MaskablePPO", "REINFORCE"])
def test_discrete_actions_are_compared_too(algorithm):
    def one():
        env = ActionMasker(ToyEnv("discrete"), lambda env: np.ones(3, bool))
        return Other(labelled(env, discrete_expert))

    refuse(learner(algorithm, DummyVecEnv([one])), "the learner's action", "Other")


@pytest.mark.parametrize("outer", [Negates, Skips])
def test_other_processes_name_the_wrapper_too(outer):
    env = SubprocVecEnv([lambda: Monitor(outer(labelled()))] * 2, start_method="fork")
    try:
        refuse(learner("PPO", env), f"{outer.__name__} is around it", "environment 0")
    finally:
        env.close()


@pytest.mark.parametrize("inner", ["labels", "takeover", "guide"])
def test_a_wrapper_of_a_vectorised_environment_is_seen_by_what_it_does(inner):
    refuse(learner("PPO", VecMonitor(NegatesAll(DummyVecEnv([INNER[inner]])))), "the learner's action", "NegatesAll")


def test_episodes_of_one_step_show_a_frame_skip():
    refuse(learner("PPO", DummyVecEnv([lambda: Skips(labelled(ToyEnv(lengths=(2, 3))))])), "where the learner took 1", "Skips")


def test_it_can_not_be_skipped():
    refuse(learner("PPO", DummyVecEnv([lambda: Negates(labelled())]), on_error="skip"), "the learner's action")


def test_labels_that_come_seldom_are_refused_when_one_comes():
    model = learner("PPO", DummyVecEnv([lambda: Negates(labelled(labels=lambda observation: observation[0] > 1.0))]))
    with pytest.raises(FeedbackError, match="Negates"):
        model.learn(3000)


@pytest.mark.parametrize("outer", [Negates, Skips, StepsFirst, Sticks])
def test_scores_alone_suffer_from_nothing(outer):
    env = DummyVecEnv([lambda: outer(FeedbackWrapper(ToyEnv(), lambda step: Feedback(score=1.0), score_as_reward="replace"))])
    model = learner("PPO", env, gamma=0.0).learn(24)  # without the value of a state that a limit cut off
    assert {*model.rollout_buffer.rewards.flat} == ({1.0, 2.0, 3.0} if outer is Skips else {1.0})


def test_squashed_actions_are_the_environment_s_when_they_are_compared():
    env = DummyVecEnv([lambda: labelled(ToyEnv(bound=0.4))])
    model = learner("PPO", env, use_sde=True, policy_kwargs={"squash_output": True})
    assert model.learn(24).num_expert_queries == 24


@pytest.mark.parametrize(
    "outer",
    [
        lambda env: MaxAndSkipEnv(env, 4),
        *([lambda env: gym.wrappers.MaxAndSkipObservation(env, 4)] if hasattr(gym.wrappers, "MaxAndSkipObservation") else []),
    ],
)
def test_frame_skips_of_others_are_refused(outer):
    refuse(learner("PPO", DummyVecEnv([lambda: outer(labelled())])), "it took 4 steps where the learner took 1", "MaxAndSkip")
