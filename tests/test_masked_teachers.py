"""Experts that teach through wrappers are asked within the environment's action masks, and held to them."""

import numpy as np
import pytest
from contrib_helpers import MaskedToy, masked_expert, masks_of
from helpers import ToyEnv, box_expert, discrete_expert

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, MaskablePPO, TrajectoryInjection
from nlf_sb3.teachers import Expert, ExpertTeacher

FEW = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "device": "cpu", "seed": 0}


class AsksForMasks(Expert):
    """Wishes for what may be forbidden, and acts within the masks."""

    def act(self, observations):
        return discrete_expert(observations)

    def act_within(self, observations, action_masks):
        assert (action_masks == masks_of(observations)).all(), "the masks of the state acted in"
        return masked_expert(observations)


def test_a_teacher_s_expert_gets_the_masks_of_the_state_it_labels():
    model = MaskablePPO("MlpPolicy", FeedbackWrapper(MaskedToy(), ExpertTeacher(AsksForMasks())), **FEW).learn(128)
    assert model.num_expert_queries == 128


def test_another_maskable_policy_teaches_through_the_wrapper():
    expert = MaskablePPO("MlpPolicy", MaskedToy(is_strict=True), **FEW)
    model = MaskablePPO("MlpPolicy", FeedbackWrapper(MaskedToy(is_strict=True), ExpertTeacher(expert)), **FEW).learn(128)
    assert model.num_expert_queries == 128


@pytest.mark.parametrize("mode", ["fork", "takeover"])
def test_a_forbidden_action_is_never_executed(mode):
    twin = {} if mode == "takeover" else {"twin": lambda: MaskedToy(is_strict=True)}
    env = TrajectoryInjection(MaskedToy(is_strict=True), discrete_expert, 0.5, mode=mode, **twin)  # strict: it would raise
    model = MaskablePPO("MlpPolicy", env, **FEW)
    with pytest.raises(FeedbackError, match=r"environment 0, step \d+: .*it is \d, which the action mask forbids"):
        model.learn(512)


def test_a_teacher_s_error_is_told_beside_that_of_an_expert_who_took_over():
    def broken(_):
        raise RuntimeError("the teacher broke")

    def broken_expert(_):
        raise RuntimeError("the expert broke")

    env = TrajectoryInjection(FeedbackWrapper(ToyEnv(), broken), broken_expert, 1.0, mode="takeover")
    env.reset(seed=0)
    message = env.step(np.zeros(2, np.float32))[4]["feedback_error"]
    assert "the teacher broke" in message
    assert "the expert broke" in message


def test_scores_may_be_the_reward_around_a_takeover():
    def one(_):
        return Feedback(score=7.0)

    env = FeedbackWrapper(TrajectoryInjection(ToyEnv(), box_expert, 1.0, mode="takeover"), one, score_as_reward="replace")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[1] == 7.0
    with pytest.raises(FeedbackError, match="Put the FeedbackWrapper inside"):
        FeedbackWrapper(TrajectoryInjection(ToyEnv(), box_expert, twin=ToyEnv), one, score_as_reward="replace")
