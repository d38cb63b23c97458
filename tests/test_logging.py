"""What the logger shows, what is counted, and what is said aloud when feedback goes missing."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from helpers import (
    EXPERTS,
    Capture,
    ToyEnv,
    batches_of,
    box_expert,
    cartpole_expert,
    parameters_of,
    sb3_terms,
    teacher,
    watch,
)
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import A2C, PPO, REINFORCE, Feedback, FeedbackError, FeedbackWrapper, LinearSchedule, TrajectoryInjection
from nlf_sb3.algorithms import FeedbackMixin
from nlf_sb3.teachers import CallableExpert, ScoreTeacher, TextTeacher

SMALL = {"A2C": {"n_steps": 16}, "PPO": {"n_steps": 16, "batch_size": 16, "n_epochs": 1}}


def make(algorithm, env, **kwargs):
    return getattr(nlf_sb3, algorithm)("MlpPolicy", env, **{"seed": 0, "device": "cpu", **SMALL[algorithm], **kwargs})


def with_teacher(*teachers, n_envs=1, **kwargs):
    return DummyVecEnv([lambda: FeedbackWrapper(ToyEnv(**kwargs), list(teachers))] * n_envs)


def updates(model, n):
    """What each of n updates logged."""
    records = watch(model)
    model.learn(n * model.n_steps * model.n_envs, log_interval=1)
    return [*records.dumps[1:], dict(model.logger.name_to_value)]


# --- keys and their values --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SMALL)
def test_a_labelled_update_logs_alpha_the_imitation_loss_and_agreement(algorithm):
    model = make(algorithm, with_teacher(teacher(box_expert), n_envs=1), alpha=0.25)
    watch(model)
    capture = Capture()
    model.learn(16, callback=capture)
    logged = model.logger.name_to_value
    rollout = capture.rollouts[0]
    labels = box_expert(rollout.observations.numpy())
    expected = -rollout.policy.get_distribution(rollout.observations).log_prob(th.as_tensor(labels)).mean().item()
    assert logged["train/alpha"] == 0.25
    assert logged["train/imitation_loss"] == pytest.approx(expected, rel=1e-4)
    assert logged["feedback/expert_queries"] == 16
    assert logged["feedback/rate"] == 1.0
    root_mean_square = np.sqrt(((rollout.actions.numpy() - labels) ** 2).mean())
    assert logged["feedback/expert_agreement"] == pytest.approx(-root_mean_square, rel=1e-4)


def test_agreement_of_discrete_actions_is_the_share_of_equal_ones():
    env = DummyVecEnv([lambda: FeedbackWrapper(ToyEnv("discrete"), teacher(EXPERTS["discrete"]))] * 2)
    model = make("PPO", env, batch_size=32)
    watch(model)
    capture = Capture()
    model.learn(32, callback=capture)
    rollout = capture.rollouts[0]
    equal = rollout.actions.flatten().numpy() == EXPERTS["discrete"](rollout.observations.numpy())
    assert 0 < equal.mean() < 1
    assert model.logger.name_to_value["feedback/expert_agreement"] == pytest.approx(equal.mean())


def test_rates_scores_and_texts():
    def score(transition):
        return float(transition.step) if transition.step % 2 == 0 else None

    def text(transition):
        return "good" if transition.step == 0 else None

    model = make("A2C", with_teacher(ScoreTeacher(score), TextTeacher(text), n_envs=2, lengths=(4, 4)))
    (logged,) = updates(model, 1)
    # Each environment plays four episodes of four steps, and hears scores 0 and 2 in each.
    assert logged["feedback/rate"] == 0.5
    assert logged["feedback/text_rate"] == 0.25
    assert logged["feedback/score_mean"] == 1.0
    assert "train/imitation_loss" not in logged
    assert "train/alpha" not in logged, "a score is no label: nothing is mixed"


def test_each_update_has_its_own_rate():
    heard = []

    def score(transition):
        heard.append(transition)
        return 1.0 if len(heard) <= 16 else None

    first, second = updates(make("A2C", with_teacher(ScoreTeacher(score))), 2)
    assert first["feedback/rate"] == 1.0
    assert second["feedback/rate"] == 0.0
    assert "feedback/score_mean" not in second


def test_without_feedback_nothing_of_ours_is_logged():
    (logged,) = updates(make("PPO", DummyVecEnv([ToyEnv])), 1)
    ours = [key for key in logged if key.startswith(("feedback/", "injection/")) or key in ("train/alpha",)]
    assert ours == []
    assert "train/policy_gradient_loss" in logged


def test_alpha_follows_its_schedule():
    model = make("A2C", DummyVecEnv([ToyEnv]), alpha=LinearSchedule(0.0, 1.0), expert=box_expert)
    assert [logged["train/alpha"] for logged in updates(model, 4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_an_alpha_outside_its_range_stops_training():
    model = make("A2C", DummyVecEnv([ToyEnv]), alpha=lambda progress: 1.5, expert=box_expert)
    with pytest.raises(ValueError, match=r"alpha: got 1\.5"):
        model.learn(16)


def test_injection_logs_segments_returns_forks_and_expert_steps():
    env = DummyVecEnv([lambda: TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), box_expert, 0.3)] * 2)
    model = make("PPO", env, n_steps=64, batch_size=128, injection="plain")
    watch(model)
    capture = Capture()
    model.learn(128, callback=capture)
    logged = model.logger.name_to_value
    segments = [segment for segment, _ in capture.rollouts[0].segments]
    assert logged["injection/segments"] == len(segments) > 5
    assert logged["injection/segment_return_mean"] == pytest.approx(np.mean([s.rewards.sum() for s in segments]))
    assert logged["injection/fork_step_mean"] == pytest.approx(np.mean([s.fork_step for s in segments]))
    assert logged["injection/expert_steps"] == sum(len(s) - s.fork_step for s in segments) == model.num_expert_steps
    assert np.isfinite(logged["injection/advantage_mean"])
    assert "train/alpha" not in logged


def test_reinforce_logs_the_same_keys():
    model = REINFORCE("MlpPolicy", DummyVecEnv([ToyEnv]), expert=box_expert, alpha=0.3, seed=0, device="cpu")
    watch(model)
    model.learn(1)
    assert model.logger.name_to_value["train/alpha"] == 0.3
    assert np.isfinite(model.logger.name_to_value["train/imitation_loss"])
    assert model.logger.name_to_value["feedback/expert_queries"] == model.num_expert_queries > 0


# --- gradients ------------------------------------------------------------------------------------------


def flat_gradient(loss, policy):
    parameters = list(policy.parameters())
    gradients = th.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return th.cat([(th.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, gradients, strict=True)])


@pytest.mark.parametrize("settings", [{}, {"ent_coef": 0.5, "vf_coef": 3.0}, {"alpha": 0.0}], ids=str)
@pytest.mark.parametrize("algorithm", SMALL)
def test_logged_gradients_are_those_of_the_two_losses(algorithm, settings):
    expert = CallableExpert(box_expert, label="sample")
    env = DummyVecEnv([ToyEnv] * 2)
    model = make(algorithm, env, expert=expert, log_gradients=True, **{"alpha": 0.3, **settings})
    watch(model)
    capture = Capture()
    model.learn(32, callback=capture)
    rollout = capture.rollouts[0]
    batch = batches_of(model, rollout)[0]  # the first minibatch
    policy_loss, _ = sb3_terms(model, rollout, batch)
    observations = rollout.observations[th.as_tensor(batch)]
    labels = th.as_tensor(box_expert(observations.numpy()))
    imitation = -rollout.policy.get_distribution(observations).log_prob(labels).mean()
    first, second = (flat_gradient(loss, rollout.policy) for loss in (policy_loss, imitation))
    logged = model.logger.name_to_value
    assert logged["train/policy_gradient_norm"] == pytest.approx(first.norm().item(), rel=1e-3)
    assert logged["train/imitation_gradient_norm"] == pytest.approx(second.norm().item(), rel=1e-3)
    cosine = (first @ second / first.norm() / second.norm()).item()
    assert logged["train/gradient_cosine"] == pytest.approx(cosine, abs=1e-4)


def test_reinforces_logged_gradients_are_sums_where_its_loss_is():
    norms = {}
    for reduction in ("mean", "sum"):
        model = REINFORCE(
            "MlpPolicy",
            DummyVecEnv([ToyEnv]),
            expert=CallableExpert(box_expert, label="sample"),
            loss_reduction=reduction,
            normalize_returns=False,
            n_episodes=3,
            log_gradients=True,
            seed=0,
            device="cpu",
        )
        watch(model)
        capture = Capture()
        model.learn(1, callback=capture)
        rollout = capture.rollouts[0]
        logged = model.logger.name_to_value
        _, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations, rollout.actions)
        labels = th.as_tensor(box_expert(rollout.observations.numpy()))
        imitation = -rollout.policy.get_distribution(rollout.observations).log_prob(labels)
        policy_loss = -rollout.returns * log_prob
        losses = [loss.mean() if reduction == "mean" else loss.sum() for loss in (policy_loss, imitation)]
        first, second = (flat_gradient(loss, rollout.policy) for loss in losses)
        assert logged["train/policy_gradient_norm"] == pytest.approx(first.norm().item(), rel=1e-3)
        assert logged["train/imitation_gradient_norm"] == pytest.approx(second.norm().item(), rel=1e-3)
        assert logged["train/gradient_cosine"] == pytest.approx(
            (first @ second / first.norm() / second.norm()).item(), abs=1e-4
        )
        norms[reduction] = logged["train/imitation_gradient_norm"]
    assert norms["sum"] > 2 * norms["mean"]


@pytest.mark.parametrize("algorithm", SMALL)
def test_logging_gradients_does_not_change_training(algorithm):
    trained = []
    for log_gradients in (False, True):
        model = make(algorithm, DummyVecEnv([ToyEnv] * 2), expert=box_expert, log_gradients=log_gradients)
        trained.append(parameters_of(model.learn(64).policy))
        assert ("train/gradient_cosine" in model.logger.name_to_value) == log_gradients
    assert th.equal(*trained)


# --- earlier steps -----------------------------------------------------------------------------------------


def label_of(transition, steps_ago):
    return Feedback(expert_action=np.full(2, transition.step / 100, np.float32), steps_ago=steps_ago)


class Labels(Capture):
    """The rollout's labels as they stand before the update."""

    def _on_rollout_end(self):
        super()._on_rollout_end()
        buffer = self.model.rollout_buffer
        self.kinds, self.actions = buffer.label_kinds.copy(), buffer.label_actions.copy()


def test_steps_ago_reaches_the_row_that_it_speaks_of():
    env = with_teacher(lambda t: label_of(t, 3) if t.step >= 3 else None, lengths=(16, 16))
    model = make("A2C", env)
    watch(model)
    capture = Labels()
    model.learn(16, callback=capture)
    # The label of step t is given at step t + 3; the last three rows get none.
    assert (capture.kinds[:, 0] != 0).tolist() == [True] * 13 + [False] * 3
    assert capture.actions[:13, 0, 0] == pytest.approx([(row + 3) / 100 for row in range(13)])
    assert "feedback/late" not in model.logger.name_to_value


def test_steps_ago_past_the_rollouts_start_is_late_and_counted():
    env = with_teacher(lambda t: label_of(t, 5), lengths=(64, 64), n_envs=2)
    model = make("A2C", env)
    first, second = updates(model, 2)
    assert (first["feedback/late"], second["feedback/late"]) == (2 * 5, 4 * 5), "counted over the whole training"
    assert first["feedback/rate"] == 1.0, "a late record was heard all the same"


def test_late_text_and_scores_are_counted_too():
    env = with_teacher(lambda t: Feedback(text="slower", steps_ago=2), lengths=(64, 64))
    assert updates(make("A2C", env), 1)[0]["feedback/late"] == 2


def test_reinforce_reaches_rows_of_the_episode_under_way_and_counts_those_that_were_trained_on():
    env = with_teacher(lambda t: label_of(t, 3), lengths=(4, 4))
    model = REINFORCE("MlpPolicy", env, n_episodes=1, seed=0, device="cpu")
    records = watch(model)
    model.learn(8, log_interval=1)
    logged = [records.dumps[1], dict(model.logger.name_to_value)]
    assert [values["feedback/late"] for values in logged] == [3, 6]


# --- what is said aloud ---------------------------------------------------------------------------------------


def broken_promises(model, steps):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(steps)
    return [str(warning.message) for warning in caught if "no feedback" in str(warning.message)]


@pytest.mark.parametrize("algorithm", SMALL)
def test_a_silent_wrapper_is_pointed_out_exactly_once(algorithm):
    model = make(algorithm, with_teacher(lambda transition: None))
    (message,) = broken_promises(model, 80)
    assert "FeedbackWrapper" in message
    assert "16 steps" in message


def test_a_wrapper_that_speaks_is_not_pointed_out():
    assert broken_promises(make("A2C", with_teacher(ScoreTeacher(lambda t: 1.0 if t.step == 0 else None))), 80) == []
    assert broken_promises(make("A2C", DummyVecEnv([ToyEnv])), 80) == []


def test_skipped_feedback_is_counted_and_not_called_silence():
    def bad(transition):
        return Feedback(expert_action=np.zeros(3))

    model = make("A2C", with_teacher(bad, n_envs=2), on_error="skip")
    records = watch(model)
    assert broken_promises(model, 32) == []
    assert records.dumps == [] or "feedback/skipped" not in records.dumps[0]
    assert model.logger.name_to_value["feedback/skipped"] == 32


def test_bad_feedback_names_environment_step_and_what_was_expected():
    def bad(transition):
        return Feedback(expert_action=np.zeros(3))

    env = DummyVecEnv([ToyEnv, lambda: FeedbackWrapper(ToyEnv(), bad)])
    with pytest.raises(FeedbackError, match=r"environment 1, step 2: .*\(3,\).*\(2,\)"):
        make("A2C", env).learn(16)


def test_an_expert_that_raises_is_named():
    def broken(observations):
        raise KeyError("no such thing")

    with pytest.raises(FeedbackError, match=r"KeyError.*no such thing"):
        make("A2C", DummyVecEnv([ToyEnv]), expert=broken).learn(16)
    model = make("A2C", DummyVecEnv([ToyEnv]), expert=broken, on_error="skip")
    watch(model)
    model.learn(16)
    assert model.logger.name_to_value["feedback/skipped"] == 1


class _SilentPPO(stable_baselines3.PPO):
    def train(self):
        self._n_updates += 1


class _LazyPPO(FeedbackMixin, _SilentPPO):
    pass


class _OtherRowsA2C(stable_baselines3.A2C):
    def train(self):
        for data in self.rollout_buffer.get(batch_size=None):
            self.policy.evaluate_actions(data.observations, data.actions)
            self.policy.evaluate_actions(data.observations, data.actions)


class _TwiceA2C(FeedbackMixin, _OtherRowsA2C):
    pass


def test_a_train_that_stops_calling_evaluate_actions_is_an_error():
    model = _LazyPPO("MlpPolicy", DummyVecEnv([ToyEnv]), n_steps=16, batch_size=16, expert=box_expert, device="cpu")
    with pytest.raises(RuntimeError, match=r"never called policy\.evaluate_actions"):
        model.learn(16)
    assert "evaluate_actions" not in vars(model.policy), "the policy is left as it was"


def test_a_train_that_evaluates_rows_of_its_own_is_an_error():
    model = _TwiceA2C("MlpPolicy", DummyVecEnv([ToyEnv]), n_steps=16, expert=box_expert, device="cpu")
    with pytest.raises(RuntimeError, match="no new minibatch"):
        model.learn(16)


@pytest.mark.parametrize("algorithm", [A2C, PPO])
def test_training_leaves_the_policys_methods_alone(algorithm):
    model = algorithm("MlpPolicy", "CartPole-v1", n_steps=64, expert=cartpole_expert, device="cpu").learn(64)
    assert "evaluate_actions" not in vars(model.policy)
