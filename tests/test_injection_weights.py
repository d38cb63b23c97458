"""What an expert's rows count against its mismatch with the policy, and how often the shared prefix counts."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3 as sb3
import torch as th
from gymnasium import spaces
from helpers import (
    Capture,
    GaussianExpert,
    ToyEnv,
    batches_of,
    box_expert,
    largest_difference,
    sb3_terms,
    step_by_hand,
    watch,
)
from learners import ALGORITHMS, learner, noticing, terms_of
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import ExpertSegment, FeedbackError, Injection, TrajectoryInjection
from nlf_sb3.config import as_injection
from nlf_sb3.densities import in_policy_density
from nlf_sb3.losses import truncated_importance_weight
from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.objectives.injected_rows import build_injected_rows
from nlf_sb3.objectives.policy_rows import PolicyRows
from nlf_sb3.objectives.row_weights import ExpertWeights
from nlf_sb3.teachers import CallableExpert, PolicyExpert

SGD = {"optimizer_class": th.optim.SGD, "net_arch": [16]}


class Knows(GaussianExpert):
    """A Gaussian expert that says how likely its actions are."""

    def log_prob(self, observations, actions):
        errors = (actions - self.mean(observations)) / self.stds
        return (-0.5 * errors**2 - np.log(self.stds) - 0.5 * np.log(2 * np.pi)).sum(axis=1)


def injected(expert=None, mode="fork", n_envs=2, p=0.3, **kwargs):
    kwargs = {"twin": ToyEnv, **kwargs} if mode == "fork" else kwargs
    return DummyVecEnv([lambda: TrajectoryInjection(ToyEnv(), expert or Knows(), p, mode=mode, **kwargs)] * n_envs)


# --- the weights themselves ---------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "expected"), [(1.0, [0.5, 1.0, 1.0]), (3.0, [0.5, 2.0, 1.0]), (0.25, [0.25, 0.25, 0.25])])
def test_importance_weights_are_ratios_cut_off_at_the_bound(bound, expected):
    policy, expert = th.tensor([0.2, 0.5, 0.9]).log(), th.tensor([0.4, 0.25, 0.9]).log()
    assert truncated_importance_weight(policy, expert, bound).tolist() == pytest.approx(expected)


def test_a_ratio_beyond_what_floats_hold_is_cut_off_too():
    assert truncated_importance_weight(th.tensor([500.0]), th.tensor([-500.0]), 1.0).item() == 1.0
    assert truncated_importance_weight(th.tensor([-500.0]), th.tensor([500.0]), 1.0).item() == 0.0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("importance", [1, 1, 0.5, 1]),
        ("shaping", [1, 1, 0.5 / 0.6, 0.1 / 0.2]),
        ("shaping_negative", [1, 1, 1, 0.1 / 0.2]),
    ],
)
def test_only_the_expert_s_rows_are_weighted(kind, expected):
    weights = ExpertWeights(kind)(
        th.tensor([2.0, -2.0, 2.0, -2.0]),
        th.tensor([False, False, True, True]),
        log_prob=th.tensor([0.1, 0.1, 0.1, 0.3]).log(),
        expert_log_prob=th.tensor([0.9, 0.9, 0.2, 0.1]).log(),
        log_relative=th.tensor([0.1, 0.1, 0.5, 0.1]).log(),
    )
    assert weights.tolist() == pytest.approx(expected)


# --- rows of forked episodes --------------------------------------------------------------------------


def three_steps(**kwargs):
    observations = np.array([[0.1, 0.2, 0.3], [1.0, 0.0, -1.0], [0.5, 0.5, 0.5]], np.float32)
    actions = np.array([[0.1, -0.1], [0.2, 0.3], [-0.4, 0.4]], np.float32)
    last = np.array([0.9, -0.9, 0.0], np.float32)
    settings = {"fork_step": 1, "expert_log_probs": np.array([-0.5, -4.0]), **kwargs}
    return ExpertSegment(observations, actions, np.array([1.0, 2.0, 4.0]), True, False, last, **settings)


@pytest.fixture(scope="module")
def model():
    model = nlf_sb3.PPO("MlpPolicy", DummyVecEnv([ToyEnv]), seed=0, device="cpu")
    with th.no_grad():
        model.policy.log_std.fill_(np.log(0.4))
    return model


def build(model, segments, **kwargs):
    settings = {
        "make_rows": lambda observations, actions, starts, masks: PolicyRows(model.policy, observations, actions),
        "gamma": 0.9,
        "agents_advantages": AdvantageScale(5.0, 1.0, normalises=True),  # of returns 6.04, 5.6 and 4
        "use_critic": False,
        "bootstrap_at_time_limit": True,
        "bounded": False,
    }
    return build_injected_rows(model.policy, model.get_env(), segments, **{**settings, **kwargs})


def squared_errors(model, segment):
    """Of each action to the policy's mean, in standard deviations of 0.4, ``[3]``."""
    mean = model.policy.get_distribution(th.as_tensor(segment.observations)).mode().detach().numpy()
    return (((segment.actions - mean) / 0.4) ** 2).sum(axis=1)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("kind", ["none", "importance", "shaping", "shaping_negative"])
def test_rows_of_a_segment_are_weighted_as_asked_however_they_are_bounded(model, kind, bounded):
    segment = three_steps()
    errors = squared_errors(model, segment)
    relative = np.exp(-0.25 * errors)  # of a dimension
    densities = np.exp(-0.5 * errors) / (2 * np.pi * 0.4**2)
    ratios = densities[1:] / np.exp([-0.5, -4.0])
    assert ratios[0] < 2 < ratios[1]
    shaped = relative / (relative + 0.1)
    expected = {
        "none": [1, 1, 1],
        "importance": [1, ratios[0], 2],
        "shaping": [1, shaped[1], shaped[2]],
        "shaping_negative": [1, 1, shaped[2]],
    }[kind]
    rows = build(model, [(segment, list(segment.actions[:1]))], bounded=bounded, weigh=ExpertWeights(kind, 2.0))
    assert rows.weights.tolist() == pytest.approx(expected, rel=1e-4)
    assert rows.advantages.tolist() == pytest.approx([1.04, 0.6, -1.0], rel=1e-4)


def test_a_prefix_that_counts_once_leaves_the_expert_s_rows_as_they_were(model):
    segments = [three_steps(), three_steps(fork_step=0, expert_log_probs=np.full(3, -1.0)), three_steps()]
    segments = [(segment, list(segment.actions[: segment.fork_step])) for segment in segments]
    twice, once = (build(model, segments, with_prefix=with_prefix) for with_prefix in (True, False))
    own = [1, 2, 3, 4, 5, 7, 8]
    assert once.returns.tolist() == pytest.approx([5.6, 4.0, 6.04, 5.6, 4.0, 5.6, 4.0])
    assert th.equal(once.rows.observations, twice.rows.observations[own])
    assert th.equal(once.rows.actions, twice.rows.actions[own])
    for name in ("old_log_prob", "advantages", "returns", "weights"):
        assert th.allclose(getattr(once, name), getattr(twice, name)[own], atol=1e-6), name


def test_a_recurrent_policy_remembers_a_prefix_that_counts_once():
    model = learner("RecurrentPPO", injected())
    segments = [three_steps(), three_steps(fork_step=2, expert_log_probs=np.zeros(1)), three_steps()]
    segments = [(segment, list(segment.actions[: segment.fork_step])) for segment in segments]
    make_rows = model.feedback.adapter.policy_rows
    twice, once = (build(model, segments, make_rows=make_rows, with_prefix=flag) for flag in (True, False))
    own = [1, 2, 5, 7, 8]
    assert once.old_log_prob.detach().numpy() == pytest.approx(twice.old_log_prob[own].detach().numpy(), abs=1e-5)
    # Without the past, they would have other probabilities.
    first = segments[0][0]
    own_part = {name: getattr(first, name)[1:] for name in ("observations", "actions", "rewards")}
    bare = [(replace(first, **own_part, fork_step=0), [])]
    forgetful = build(model, bare, make_rows=make_rows)
    assert (forgetful.old_log_prob - once.old_log_prob[:2]).abs().max().item() > 1e-4


# --- the update ---------------------------------------------------------------------------------------


def rows_by_hand(model, rollout):
    """The expert's and the shared rows: observations, actions, advantages, whether the expert's, log pi_E."""
    policy, parts = rollout.policy, []
    for segment, prefix in rollout.segments:
        last = 0.0
        if not segment.terminated:
            last = float(policy.predict_values(th.as_tensor(segment.last_observation[None])).detach())
        returns = []
        for reward in reversed(segment.rewards):
            last = reward + model.gamma * last
            returns.insert(0, last)
        own = segment.fork_step
        actions = np.stack([*prefix, *segment.actions[own:]])
        log_probs = np.append(np.zeros(own), Knows().log_prob(segment.observations[own:], segment.actions[own:]))
        is_expert = np.arange(len(segment)) >= own
        parts.append((segment.observations, actions, np.float32(returns), is_expert, np.float32(log_probs)))
    observations, actions, returns, is_expert, log_probs = (
        th.as_tensor(np.concatenate(part)) for part in zip(*parts, strict=True)
    )
    with th.no_grad():
        advantages = returns - policy.predict_values(observations).flatten()
    return observations, actions, advantages, is_expert, log_probs


@pytest.mark.parametrize("count_prefix", [True, False])
@pytest.mark.parametrize("kind", ["none", "importance", "shaping", "shaping_negative"])
@pytest.mark.parametrize("separate_step", [True, False])
@pytest.mark.parametrize("weighting", ["plain", "bounded"])
def test_one_update_equals_a_hand_written_step(weighting, separate_step, kind, count_prefix):
    injection = Injection(weighting, 0.7, row_weight=kind, count_prefix=count_prefix, separate_step=separate_step)
    settings = {
        "injection": injection,
        "n_steps": 32,
        "learning_rate": 0.1,
        "max_grad_norm": 0.05,
        "use_rms_prop": False,
        "policy_kwargs": SGD,
    }
    model = learner("A2C", injected(), **settings)
    capture = Capture()
    model.learn(64, callback=capture)
    (rollout,) = capture.rollouts
    policy, n = rollout.policy, len(rollout)
    observations, actions, advantages, is_expert, expert_log_prob = rows_by_hand(model, rollout)
    center, spread = rollout.advantages.mean(), rollout.advantages.std()
    if weighting == "bounded":
        advantages = advantages.clamp(center - 5 * spread, center + 5 * spread)
    with th.no_grad():
        old = policy.get_distribution(observations)
        old_log_prob = old.log_prob(actions)
        relative = th.exp((old_log_prob - old.log_prob(old.mode())) / 2)
    shaped = relative / (relative + 0.1)
    ones = th.ones(len(actions))
    of_experts = {
        "none": ones,
        "importance": th.exp(old_log_prob - expert_log_prob).clamp(max=1.0),
        "shaping": shaped,
        "shaping_negative": th.where(advantages < 0, shaped, ones),
    }[kind]
    weights = th.where(is_expert, of_experts, ones)
    kept = th.ones_like(is_expert) if count_prefix else is_expert
    assert 10 < is_expert.sum() < len(is_expert)
    policy_loss, other_terms = sb3_terms(model, rollout, batches_of(model, rollout)[0])

    def own_loss():
        losses = -(weights * advantages * policy.get_distribution(observations).log_prob(actions))[kept]
        return 0.7 * losses.mean() if weighting == "bounded" else losses.sum() / n

    loss = policy_loss + other_terms
    step_by_hand(policy, loss if separate_step else loss + own_loss(), model.max_grad_norm)
    if separate_step:
        step_by_hand(policy, own_loss(), model.max_grad_norm)
    assert largest_difference(model.policy, policy) < 1e-6


@pytest.mark.parametrize("injection", ["plain", "bounded", "separate"])
def test_auto_is_what_injection_meant_before_there_was_a_choice(injection):
    kind = "shaping_negative" if injection == "bounded" else "none"
    models = [
        learner("PPO", injected(), injection=either, n_steps=32).learn(64)
        for either in (injection, replace(as_injection(injection), row_weight=kind))
    ]
    assert models[0].num_expert_steps > 10
    assert largest_difference(models[0].policy, models[1].policy) == 0.0


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "MaskablePPO"])
def test_every_algorithm_takes_importance_weights_and_a_prefix_that_counts_once(algorithm):
    policies = []
    for settings in (
        {"injection": Injection(row_weight="none")},
        {"injection": Injection(row_weight="importance")},
        {"injection": Injection(count_prefix=False)},
    ):
        model = learner(algorithm, injected(), **settings).learn(48)
        assert model.num_expert_steps > 10
        policies.append(th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()]))
    assert all(th.isfinite(parameters).all() for parameters in policies)
    assert (policies[0] - policies[1]).abs().max() > 1e-6
    assert (policies[0] - policies[2]).abs().max() > 1e-6


def test_an_episode_that_is_all_prefix_has_no_row_where_it_counts_once():
    model = learner("A2C", injected(), injection=Injection(count_prefix=False))
    watch(model)
    segment = three_steps(fork_step=3, expert_log_probs=np.zeros(0))
    model.rollout_buffer.segments = [(segment, list(segment.actions))]
    assert model.feedback.injection.rows() is None
    model.injection = Injection(count_prefix=True)
    assert len(model.feedback.injection.rows()) == 3


# --- takeovers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "importance", "shaping", "shaping_negative"])
@pytest.mark.parametrize("injection", ["plain", "bounded"])
def test_executed_rows_are_weighted_as_asked(injection, kind):
    seen = {}

    def look(model):
        buffer = model.rollout_buffer
        names = ("observations", "actions", "advantages", "executed")
        seen.update({name: buffer.take_rows(getattr(buffer, name), buffer.row_indices()) for name in names})
        with th.no_grad():
            normal = model.policy.get_distribution(th.as_tensor(seen["observations"])).distribution
        seen.update(mean=normal.mean.numpy(), std=normal.stddev.numpy())

    settings = {"injection": Injection(injection, coef=0.6, row_weight=kind, max_row_weight=0.9), "n_steps": 32}
    model = learner("A2C", injected(mode="takeover"), subclass=noticing(nlf_sb3.A2C, look), **settings)
    terms = terms_of(model)
    model.learn(64)
    executed, actions, std = seen["executed"], seen["actions"], seen["std"]
    errors = (((actions - seen["mean"]) / std) ** 2).sum(axis=1)
    log_prob = -0.5 * errors - np.log(std).sum(axis=1) - np.log(2 * np.pi)
    shaped = np.exp(-0.25 * errors) / (np.exp(-0.25 * errors) + 0.1)
    expert_log_prob = Knows().log_prob(seen["observations"], actions)
    expected = {
        "none": np.ones(64),
        "importance": np.minimum(0.9, np.exp(log_prob - expert_log_prob)),
        "shaping": shaped,
        "shaping_negative": np.where(seen["advantages"] < 0, shaped, 1.0),
    }[kind]
    n_experts = int(executed.sum())
    assert 10 < n_experts < 54
    own = 64 / (64 - n_experts) if injection == "bounded" else 1.0
    share = 0.6 * 64 / n_experts if injection == "bounded" else 1.0
    assert terms[0].interventions.policy.numpy() == pytest.approx(np.where(executed, share * expected, own), rel=1e-3)


# --- what an expert's probabilities are of ------------------------------------------------------------


def test_probabilities_of_squashed_actions_are_in_the_units_of_whoever_asks():
    env = gym.make("Pendulum-v1")  # its torque goes from -2 to 2
    squashed, plain = (
        sb3.PPO("MlpPolicy", env, use_sde=True, policy_kwargs={"squash_output": flag}, seed=0) for flag in (True, False)
    )
    observations, actions = np.float32([[0.6, 0.8, 1.0]]), np.float32([[0.5]])
    expert = PolicyExpert(squashed)
    of_policy, of_environment = expert.log_prob(observations, actions), expert.log_density(observations, actions)
    assert of_environment == pytest.approx(of_policy - np.log(2.0), abs=1e-5)
    assert in_policy_density(squashed.policy, of_environment).numpy() == pytest.approx(of_policy, abs=1e-5)
    assert in_policy_density(plain.policy, of_environment).numpy() == pytest.approx(of_environment, abs=1e-5)
    assert PolicyExpert(plain).log_density(observations, actions) == PolicyExpert(plain).log_prob(observations, actions)


class Masked(ToyEnv):
    """Allows the first two of three choices."""

    def __init__(self):
        super().__init__("discrete")

    def action_masks(self):
        return np.array([True, True, False])


@pytest.mark.parametrize("mode", ["fork", "takeover"])
def test_probabilities_are_those_within_the_masks(mode):
    expert = PolicyExpert(sb3_contrib.MaskablePPO("MlpPolicy", Masked(), seed=0))
    with th.no_grad():
        expert.policy.action_net.weight.zero_()
        expert.policy.action_net.bias.copy_(th.tensor([np.log(0.2), np.log(0.3), np.log(0.5)]))
    env = TrajectoryInjection(Masked(), expert, 1.0, mode=mode, **({"twin": Masked} if mode == "fork" else {}))
    env.reset(seed=0)
    actions, log_probs, ended = [], [], False
    while not ended:
        _, _, terminated, truncated, info = env.step(0)
        ended = terminated or truncated
        if mode == "takeover":
            actions.append(int(info["executed_action"]))
            log_probs.append(info["executed_log_prob"])
    if mode == "fork":
        actions, log_probs = info["expert_segment"].actions.tolist(), info["expert_segment"].expert_log_probs
    assert set(actions) <= {0, 1}
    assert np.exp(log_probs) == pytest.approx(np.array([0.4, 0.6])[actions], rel=1e-5)


# --- refusals, saving ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fork", "takeover"])
def test_an_expert_without_probabilities_is_refused_for_importance_weights(mode):
    model = learner(
        "A2C", injected(CallableExpert(box_expert), mode), injection=Injection(row_weight="importance"), n_steps=32
    )
    with pytest.raises(FeedbackError, match=r"environment .*injection.row_weight='importance' divides.*'shaping'"):
        model.learn(64)


def test_segments_without_probabilities_may_be_passed_over():
    env = injected(CallableExpert(box_expert))
    model = learner("A2C", env, injection=Injection(row_weight="importance"), n_steps=32, on_error="skip").learn(64)
    assert model.logger.name_to_value["feedback/skipped"] > 0
    assert model.num_expert_steps == 0


@pytest.mark.parametrize("log_probs", [np.zeros(1), np.array([0.0, np.nan])])
def test_probabilities_that_are_none_are_refused(model, log_probs):
    segment = three_steps(expert_log_probs=log_probs)
    with pytest.raises(FeedbackError, match="expected 2 finite numbers"):
        build(model, [(segment, list(segment.actions[:1]))], weigh=ExpertWeights("importance"))


def test_a_takeover_has_no_copy_of_the_prefix():
    with pytest.raises(FeedbackError, match=r"injection.count_prefix: got False.*there is no copy"):
        learner("PPO", injected(mode="takeover"), injection=Injection(count_prefix=False)).learn(1)


@pytest.mark.parametrize("algorithm", ["PPO", "TRPO"])
def test_signs_that_a_minibatch_decides_are_refused(algorithm):
    settings = {"injection": Injection("plain", row_weight="shaping_negative")}
    with pytest.raises(ValueError, match="depends on the sign"):
        learner(algorithm, injected(mode="takeover"), **settings).learn(1)
    learner(algorithm, injected(mode="takeover"), **settings, normalize_advantage=False).learn(1)


def test_the_choices_are_saved_and_loaded(tmp_path):
    settings = {"injection": Injection(row_weight="importance", max_row_weight=2.0, count_prefix=False)}
    learner("A2C", injected(), **settings).save(tmp_path / "model")
    loaded = nlf_sb3.A2C.load(tmp_path / "model", device="cpu")
    assert {name: getattr(loaded, name) for name in settings} == settings
    changed = nlf_sb3.A2C.load(tmp_path / "model", device="cpu", injection=Injection(count_prefix=True))
    assert changed.injection == Injection(count_prefix=True)
    assert isinstance(sb3.A2C.load(tmp_path / "model", device="cpu").action_space, spaces.Box)


def test_mean_weights_are_logged_where_somebody_chose_them():
    for kind, is_logged in (("auto", False), ("none", False), ("importance", True)):
        model = learner("A2C", injected(), injection=Injection(row_weight=kind), n_steps=32).learn(64)
        logged = model.logger.name_to_value.get("injection/weight_mean")
        assert (logged is not None) == is_logged
    assert 0.0 < logged < 1.0
