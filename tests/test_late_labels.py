"""Labels that arrive after their rollout reach the label replay, as long as their steps are among the latest ones."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from helpers import ToyEnv, box_expert, discrete_expert
from learners import learner
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, Imitation, LabelReplay
from nlf_sb3.receiving.recent_steps import RecentSteps, StepId

N_STEPS = 12


class AnswersLate:
    """A teacher that answers some steps after it was asked; None for steps whose answer is not due."""

    def __init__(self, delay, expert=box_expert):
        self.delay, self.expert, self.seen = delay, expert, []

    def __call__(self, transition):
        self.seen.append(transition.observation.copy())
        if len(self.seen) <= self.delay:
            return None
        asked = self.seen[-1 - self.delay]
        return Feedback(expert_action=self.expert(asked[None])[0], steps_ago=self.delay, label="sample")


def late(delay, replay, n_envs=1, wrap=lambda env: env, algorithm="PPO", action="box"):
    expert = box_expert if action == "box" else discrete_expert
    teachers = [AnswersLate(delay, expert) for _ in range(n_envs)]
    env = DummyVecEnv([lambda teacher=teacher: FeedbackWrapper(ToyEnv(action, (40, 40)), teacher) for teacher in teachers])
    return learner(algorithm, wrap(env), imitation=Imitation(replay=replay)), teachers


def replayed(model):
    memory = model.feedback.labelling.memory
    return memory.draw(len(memory), np.random.default_rng(0))


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("delay", [13, 20])
def test_late_labels_are_those_of_their_states(delay, n_envs):
    model, teachers = late(delay, LabelReplay(1_000), n_envs)
    model.learn(4 * N_STEPS * n_envs)
    rows = replayed(model)
    assert model.feedback.statistics.late == 0
    assert model.feedback.statistics.late_replayed == n_envs * (4 * N_STEPS - delay)
    asked = {tuple(seen) for teacher in teachers for seen in np.round(teacher.seen, 5)}
    assert {tuple(row) for row in np.round(rows.observations, 5)} <= asked
    assert rows.actions == pytest.approx(box_expert(rows.observations), abs=1e-6)


def test_late_labels_train():
    def last_loss(replay):
        model, _ = late(15, replay)
        model.learn(6 * N_STEPS)
        return model.logger.name_to_value.get("train/imitation_loss")

    assert last_loss(None) is None
    assert np.isfinite(last_loss(LabelReplay(1_000, per_step=2.0)))


def test_labels_of_forgotten_steps_are_counted_as_late():
    model, _ = late(20, LabelReplay(1_000, late_steps=16))
    model.learn(4 * N_STEPS)
    assert model.feedback.statistics.late_replayed == 0
    assert model.feedback.statistics.late == 4 * N_STEPS - 20


def test_without_replay_nothing_is_kept():
    model, _ = late(20, None)
    model.learn(4 * N_STEPS)
    assert model.feedback.statistics.late == 4 * N_STEPS - 20


def test_observations_stay_as_the_policy_saw_them():
    model, teachers = late(14, LabelReplay(1_000), wrap=lambda env: VecNormalize(env, norm_reward=False))
    model.learn(3 * N_STEPS)
    raw = np.array(teachers[0].seen)
    rows = replayed(model)
    assert len(rows) == 3 * N_STEPS - 14
    assert not any(np.allclose(row, seen) for row in rows.observations for seen in raw)


class Masked(gym.Wrapper):
    def action_masks(self):
        return np.array([True, False, False])


def test_a_late_label_that_its_mask_forbids_is_bad_feedback():
    teacher = AnswersLate(14, lambda observations: np.full(len(observations), 2))
    env = DummyVecEnv([lambda: FeedbackWrapper(Masked(ToyEnv("discrete", (40, 40))), teacher)])
    model = learner("MaskablePPO", env, imitation=Imitation(replay=LabelReplay(100)))
    with pytest.raises(FeedbackError, match=r"label.*mask forbids"):
        model.learn(3 * N_STEPS)


def test_the_ring_holds_the_latest_steps_and_no_more():
    ring = RecentSteps(3)
    for step in range(5):
        ring.add({"a": np.array([[step], [10 + step]]), "b": np.zeros((2, 1))})
    assert [ring.holds(StepId(0, step)) for step in range(-1, 6)] == [False, False, False, True, True, True, False]
    assert ring.observation(StepId(1, 3))["a"].tolist() == [[13]]
    assert ring.action_masks(StepId(1, 3)) is None


def test_masks_of_the_ring_may_come_and_go():
    ring, masks = RecentSteps(4), np.array([[True, False]])
    for given in (None, masks, None):
        ring.add(np.zeros((1, 2)), given)
    assert [ring.action_masks(StepId(0, step)).tolist() for step in range(3)] == [[[1, 1]], [[1, 0]], [[1, 1]]]
