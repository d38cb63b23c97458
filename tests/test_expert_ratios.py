"""Probability ratios of an expert's far actions: finite parameters in every mode, and the gradient that injected rows have."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import watch
from learners import is_finite, learner, parameters_of

from nlf_sb3 import FeedbackError, Injection, TrajectoryInjection
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.losses import clipped_surrogate_loss
from nlf_sb3.objectives.expert_ratios import ExpertRatios

SQUASHED = {"use_sde": True, "policy_kwargs": {"squash_output": True}}


class SignEnv(gym.Env):
    """Rewards actions of the observation's sign, or of the other one, up to the bounds."""

    def __init__(self, bound: float, good: float = 1.0) -> None:
        self.bound, self.good = bound, good
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Box(-bound, bound, (1,), np.float32)

    def _look(self):
        self._observation = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self._observation

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._look(), {}

    def step(self, action):
        reward = float(self.good * action[0] / self.bound * np.sign(self._observation[0]))
        self._steps += 1
        return self._look(), reward, self._steps >= 10, False, {}


def far_expert(bound: float):
    """Acts at the bounds."""
    return lambda observations: (bound * np.where(observations > 0, 1, -1)).astype(np.float32)


def injected(mode: str, bound: float, good: float = 1.0, p: float = 0.2):
    more = {"guide": {"guide_steps": 5}, "fork": {"twin": lambda: SignEnv(bound, good)}}.get(mode, {})
    return TrajectoryInjection(SignEnv(bound, good), far_expert(bound), p, mode=mode, **more)


def trained(algorithm: str, env: gym.Env, steps: int = 240, **kwargs):
    own = {"PPO": {"n_steps": 80, "batch_size": 16, "n_epochs": 4}, "TRPO": {"n_steps": 80}}
    own["RecurrentPPO"] = own["PPO"]
    return learner(algorithm, env, **{"learning_rate": 0.01, **own.get(algorithm, {}), **kwargs}).learn(steps)


@pytest.mark.parametrize("mode", ["takeover", "guide", "fork"])
@pytest.mark.parametrize(("bound", "settings"), [(200.0, {}), (1.0, SQUASHED)])
def test_ppo_stays_finite_where_an_expert_acts_far_from_the_policy(mode, bound, settings):
    assert is_finite(trained("PPO", injected(mode, bound), **settings))


# Every setting with every other, three at a time: algorithm, mode, weights, and whether the expert is good.
@pytest.mark.parametrize(
    ("algorithm", "mode", "good", "settings"),
    [
        ("PPO", "takeover", -1.0, {"injection": Injection("plain", row_weight="none")}),
        ("PPO", "guide", -1.0, {"injection": Injection(row_weight="none"), "ent_coef": 0.01}),
        ("PPO", "fork", -1.0, {"injection": Injection("plain", separate_step=True, row_weight="none")}),
        ("PPO", "takeover", 1.0, {"injection": Injection(row_weight="shaping"), "normalize_advantage": False}),
        ("PPO", "takeover", -1.0, {"injection": Injection(row_weight="none"), **SQUASHED, "ent_coef": 0.01}),
        ("RecurrentPPO", "takeover", -1.0, {"injection": Injection(row_weight="none")}),
        ("RecurrentPPO", "guide", 1.0, {"injection": "plain"}),
        ("A2C", "takeover", 1.0, {"injection": "plain", **SQUASHED}),
        ("A2C", "guide", -1.0, {"injection": Injection(row_weight="none")}),
        ("TRPO", "takeover", 1.0, {"injection": Injection(row_weight="none"), **SQUASHED}),
        ("TRPO", "guide", -1.0, {"injection": Injection("plain", row_weight="none")}),
        ("TRPO", "fork", 1.0, {}),
        ("REINFORCE", "takeover", -1.0, {"baseline": True, "injection": Injection(row_weight="none")}),
        ("REINFORCE", "guide", 1.0, {"baseline": True, "batch_size": 1, "injection": Injection(row_weight="shaping")}),
    ],
)
def test_every_algorithm_and_mode_stays_finite(algorithm, mode, good, settings):
    bound = 1.0 if "use_sde" in settings else 200.0
    assert is_finite(trained(algorithm, injected(mode, bound, good), **settings))


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "TRPO"])
def test_far_labels_beside_takeovers_leave_parameters_finite(algorithm):
    env = injected("takeover", 200.0)
    assert is_finite(trained(algorithm, env, expert=far_expert(200.0), injection=Injection(row_weight="none")))


def test_an_experts_rows_dont_end_an_update_early():
    # One row in ten at 200 standard deviations: its ratio is beyond any limit after the first step.
    model = learner(
        "PPO", injected("takeover", 200.0), n_steps=80, batch_size=16, n_epochs=4, target_kl=0.5, learning_rate=1e-3
    )
    records = watch(model)
    model.learn(240, log_interval=1)
    dumps = [dump for dump in [*records.dumps, model.logger.name_to_value] if "train/approx_kl" in dump]
    assert len(dumps) >= 3
    assert all(np.isfinite(dump["train/approx_kl"]) and dump["train/approx_kl"] < 0.5 for dump in dumps)
    assert model._n_updates == 3 * 4


def test_the_agents_own_rows_still_end_an_update_early():
    model = trained("PPO", injected("takeover", 1.0), target_kl=1e-4, learning_rate=0.1)
    assert model._n_updates < 3 * 4


def mostly_an_experts(**kwargs):
    """One rollout in one minibatch, of which the agent has every fourth row or so."""
    return trained("PPO", injected("takeover", 1.0, p=0.25), 80, batch_size=80, learning_rate=0.01, **kwargs)


def own_divergence():
    """SB3's estimate over the agent's rows and their clipped share, after one step, by hand."""
    model = mostly_an_experts(n_epochs=1)
    buffer = model.rollout_buffer
    own = ~buffer.executed[:, 0]
    assert 0.1 < own.mean() < 0.5
    rows = [th.as_tensor(part.reshape(80, -1)[own]) for part in (buffer.observations, buffer.actions, buffer.log_probs)]
    with th.no_grad():
        log_ratio = model.policy.evaluate_actions(*rows[:2])[1] - rows[2].flatten()
    return float((log_ratio.exp() - 1 - log_ratio).mean()), float(((log_ratio.exp() - 1).abs() > 0.01).float().mean())


def test_divergence_and_clipped_share_are_means_over_the_agents_own_rows():
    divergence, clipped = own_divergence()
    logged = mostly_an_experts(n_epochs=2, clip_range=0.01).logger.name_to_value
    assert logged["train/approx_kl"] == pytest.approx(divergence, rel=1e-3)
    assert logged["train/clip_fraction"] == pytest.approx(clipped / 2), "a mean over both epochs; nothing moved in the first"
    assert clipped > 0


@pytest.mark.parametrize(("share", "n_updates"), [(0.9, 2), (1.1, 3)])
def test_an_update_ends_by_the_divergence_of_the_agents_own_rows(share, n_updates):
    divergence, _ = own_divergence()
    model = mostly_an_experts(n_epochs=3, target_kl=share * divergence / 1.5)
    assert model._n_updates == n_updates
    assert model.target_kl == share * divergence / 1.5


def test_a_rollout_of_an_experts_alone_logs_no_divergence():
    env = TrajectoryInjection(SignEnv(1.0), far_expert(1.0), mode="guide", guide_steps=lambda remaining: 1.0, horizon=10**6)
    model = trained("PPO", env, 80, target_kl=1e-9)
    assert model.rollout_buffer.executed.all()
    assert (model.logger.name_to_value["train/approx_kl"], model._n_updates) == (0.0, 4)


def test_a_policy_learns_from_takeovers_that_it_could_hardly_have_made():
    env = injected("takeover", 30.0, p=0.5)
    model = trained("PPO", env, 1600, learning_rate=0.02, policy_kwargs={"net_arch": [16]})
    low, high = (model.predict(np.array([x], np.float32), deterministic=True)[0][0] for x in (-0.8, 0.8))
    assert low < -1
    assert high > 1


# --- the gradient ---------------------------------------------------------------------------------------


def ratios_of(is_experts, old_log_prob):
    def losses(log_prob, old, advantages):
        return clipped_surrogate_loss(log_prob, old, advantages, 0.2)

    return ExpertRatios(is_experts, old_log_prob, losses)


def sb3_loss(log_prob, old_log_prob, advantages, clip_range=0.2):
    """PPO's, as SB3 writes it."""
    ratio = th.exp(log_prob - old_log_prob)
    return -th.min(advantages * ratio, advantages * th.clamp(ratio, 1 - clip_range, 1 + clip_range)).mean()


def gradients(log_ratio, advantages, is_experts):
    old = th.linspace(-3.0, 2.0, len(log_ratio))
    plain = (old + log_ratio).requires_grad_()
    sb3_loss(plain, old, advantages).backward()
    bounded = (old + log_ratio).requires_grad_()
    seen = ratios_of(is_experts, old).bounded(bounded, Minibatch(np.arange(len(old))))
    sb3_loss(seen, old, advantages).backward()
    return plain.grad, bounded.grad


@pytest.mark.parametrize("n_rows", [8, 7])
def test_moderate_ratios_have_bit_for_bit_the_gradient_that_sb3_gives_them(n_rows):
    log_ratio = th.tensor([-3.0, -0.5, -0.1, 0.0, 0.05, 0.1, 0.5, 10.0])[:n_rows]
    for sign in (1.0, -1.0):
        advantages = sign * th.linspace(0.3, 2.0, n_rows)
        plain, bounded = gradients(log_ratio, advantages, np.arange(n_rows) % 3 != 0)
        assert th.equal(plain, bounded)


def test_ratios_beyond_the_bound_train_nothing_and_leave_others_alone():
    log_ratio = th.tensor([200.0, 0.1, 1e6, -0.1])
    for advantages in (th.tensor([1.0, 1.0, 1.0, 1.0]), th.tensor([-1.0, -1.0, -1.0, -1.0])):
        plain, bounded = gradients(log_ratio, advantages, np.array([True, False, True, True]))
        assert bounded[[0, 2]].tolist() == [0.0, 0.0]
        assert th.equal(bounded[[1, 3]], plain[[1, 3]])


def test_padded_rows_of_sequences_are_found_in_their_places():
    old, is_experts = th.zeros(4), np.array([False, True, False, True])
    log_prob = th.full((6,), 0.1, requires_grad=True)
    batch = Minibatch(np.array([2, 3, 0, 1]), positions=np.array([0, 1, 3, 4]))  # places 2 and 5 are padding
    seen = ratios_of(is_experts, old).bounded(log_prob, batch)
    assert seen.tolist() == pytest.approx([0.1, 0.0, 0.1, 0.1, 0.0, 0.1])


# --- what has no likelihood -----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["PPO", "TRPO", "REINFORCE"])
@pytest.mark.parametrize(("mode", "name"), [("takeover", "executed action of environment 0"), ("fork", "expert segment")])
def test_actions_without_a_usable_likelihood_are_refused_by_name(algorithm, mode, name):
    with pytest.raises(FeedbackError, match=f"{name}.*log-probability under the policy is"):
        trained(algorithm, injected(mode, 1e20, p=0.5), 40)


def test_same_seed_same_training_with_far_takeovers():
    first, second = (trained("PPO", injected("takeover", 200.0)) for _ in range(2))
    assert th.equal(parameters_of(first), parameters_of(second))
