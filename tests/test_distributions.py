"""Divergences, rows and frozen spreads of SB3's action distributions, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
)

from nlf_sb3.distributions import MODE_SMOOTHING, kl_divergence, log_prob_of_mode, log_relative_density, select_rows
from nlf_sb3.errors import FeedbackError


def gaussian(mean, std, kind=DiagGaussianDistribution):
    mean = th.as_tensor(mean, dtype=th.float32)
    std = th.as_tensor(std, dtype=th.float32)
    return kind(mean.shape[1]).proba_distribution(mean, th.log(std).expand_as(mean))


def sde(mean, log_std, latent, squash=False):
    distribution = StateDependentNoiseDistribution(mean.shape[1], squash_output=squash)
    distribution.proba_distribution_net(latent.shape[1], -1.0)
    return distribution.proba_distribution(mean, log_std, latent)


def gaussian_kl(m1, s1, m2, s2):
    return math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def bernoulli_kl(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def categorical_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


FAMILIES = {
    "gaussian": lambda n: gaussian(th.linspace(-1, 1, 2 * n).reshape(n, 2), [0.5, 1.5]),
    "squashed": lambda n: gaussian(th.linspace(-1, 1, 2 * n).reshape(n, 2), [0.5, 1.5], SquashedDiagGaussianDistribution),
    "categorical": lambda n: CategoricalDistribution(3).proba_distribution(th.linspace(-2, 1, 3 * n).reshape(n, 3) ** 2),
    "multicategorical": lambda n: MultiCategoricalDistribution([2, 3]).proba_distribution(
        th.linspace(-2, 1, 5 * n).reshape(n, 5) ** 2
    ),
    "bernoulli": lambda n: BernoulliDistribution(2).proba_distribution(th.linspace(-1, 2, 2 * n).reshape(n, 2)),
    "sde": lambda n: sde(th.linspace(-1, 1, 2 * n).reshape(n, 2), -th.ones(4, 2), th.linspace(0, 1, 4 * n).reshape(n, 4)),
    "squashed sde": lambda n: sde(
        th.linspace(-1, 1, 2 * n).reshape(n, 2), -th.ones(4, 2), th.linspace(0, 1, 4 * n).reshape(n, 4), squash=True
    ),
}


@pytest.mark.parametrize("kind", [DiagGaussianDistribution, SquashedDiagGaussianDistribution])
def test_kl_of_gaussians_sums_the_closed_form_over_dimensions(kind):
    expert = gaussian([[0.0, 1.0], [2.0, -1.0]], [0.5, 2.0], kind)
    agent = gaussian([[0.5, 1.0], [0.0, 0.0]], [1.0, 1.5], kind)
    expected = [
        gaussian_kl(0.0, 0.5, 0.5, 1.0) + gaussian_kl(1.0, 2.0, 1.0, 1.5),
        gaussian_kl(2.0, 0.5, 0.0, 1.0) + gaussian_kl(-1.0, 2.0, 0.0, 1.5),
    ]
    assert kl_divergence(expert, agent).tolist() == pytest.approx(expected, rel=1e-5)


def test_kl_runs_from_expert_to_agent_and_not_back():
    narrow, wide = gaussian([[0.0]], [0.5]), gaussian([[0.0]], [2.0])
    assert kl_divergence(narrow, wide).item() == pytest.approx(gaussian_kl(0, 0.5, 0, 2.0), rel=1e-5)
    assert kl_divergence(wide, narrow).item() == pytest.approx(gaussian_kl(0, 2.0, 0, 0.5), rel=1e-5)


def test_kl_of_categoricals_is_the_closed_form():
    p, q = [0.7, 0.2, 0.1], [0.2, 0.3, 0.5]
    expert, agent = (CategoricalDistribution(3).proba_distribution(th.log(th.tensor([x, x]))) for x in (p, q))
    assert kl_divergence(expert, agent).tolist() == pytest.approx([categorical_kl(p, q)] * 2, rel=1e-5)


def test_kl_of_multi_categoricals_sums_the_closed_form_over_components():
    p, q = [[0.6, 0.4], [0.7, 0.2, 0.1]], [[0.5, 0.5], [0.2, 0.3, 0.5]]
    expert, agent = (MultiCategoricalDistribution([2, 3]).proba_distribution(th.log(th.tensor([x[0] + x[1]]))) for x in (p, q))
    assert kl_divergence(expert, agent).tolist() == pytest.approx(
        [categorical_kl(p[0], q[0]) + categorical_kl(p[1], q[1])], rel=1e-5
    )


def test_kl_of_bernoullis_sums_the_closed_form_over_bits():
    p, q = np.array([0.9, 0.3]), np.array([0.5, 0.6])
    expert, agent = (
        BernoulliDistribution(2).proba_distribution(th.as_tensor(np.log(x / (1 - x)), dtype=th.float32)[None]) for x in (p, q)
    )
    expected = bernoulli_kl(0.9, 0.5) + bernoulli_kl(0.3, 0.6)
    assert kl_divergence(expert, agent).tolist() == pytest.approx([expected], rel=1e-5)


def test_kl_of_state_dependent_noise_uses_the_spread_at_the_state():
    latent = th.tensor([[1.0, 2.0]])
    expert = sde(th.zeros(1, 1), th.zeros(2, 1), latent)  # variance 1 + 4
    agent = sde(th.ones(1, 1), th.full((2, 1), math.log(2.0)), latent)  # variance 4 (1 + 4)
    expected = gaussian_kl(0.0, math.sqrt(5), 1.0, math.sqrt(20))
    assert kl_divergence(expert, agent).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_of_a_distribution_with_itself_is_zero_in_every_row(family):
    distribution = FAMILIES[family](4)
    divergence = kl_divergence(distribution, FAMILIES[family](4))
    assert divergence.shape == (4,)
    assert divergence.abs().max().item() < 1e-6


@pytest.mark.parametrize(
    ("expert", "agent"),
    [
        ("gaussian", "categorical"),
        ("categorical", "bernoulli"),
        ("gaussian", "squashed"),
        ("squashed", "gaussian"),
        ("sde", "squashed sde"),
        ("categorical", "multicategorical"),
    ],
)
def test_kl_between_families_is_refused_with_the_way_out(expert, agent):
    with pytest.raises(FeedbackError, match='imitation="nll"'):
        kl_divergence(FAMILIES[expert](2), FAMILIES[agent](2))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [np.array([3, 1]), th.tensor([0]), np.array([2, 2, 0])])
def test_selected_rows_have_the_log_probs_of_those_rows(family, rows):
    distribution = FAMILIES[family](4)
    actions = distribution.mode()
    if "squashed" in family:
        actions = actions * 0.5
    whole = distribution.log_prob(actions)
    selected = select_rows(distribution, rows)
    assert th.allclose(selected.log_prob(actions[th.as_tensor(rows)]), whole[th.as_tensor(rows)], atol=1e-6)
    assert selected is not distribution
    assert th.equal(distribution.log_prob(actions), whole), "the original lost its rows"


def test_selected_rows_pass_gradients_to_their_own_rows_only():
    logits = th.zeros(3, 2, requires_grad=True)
    select_rows(CategoricalDistribution(2).proba_distribution(logits), np.array([1])).log_prob(th.tensor([0])).sum().backward()
    assert logits.grad.tolist() == [[0, 0], [0.5, -0.5], [0, 0]]


@pytest.mark.parametrize("kind", [DiagGaussianDistribution, SquashedDiagGaussianDistribution])
def test_mode_has_the_ordinary_log_prob_but_leaves_the_spread_alone(kind):
    mean = th.tensor([[0.2, -0.4]], requires_grad=True)
    log_std = th.tensor([[-0.5, 0.3]], requires_grad=True)
    actions = th.tensor([[0.5, 0.1]])
    distribution = kind(2).proba_distribution(mean, log_std)
    of_mode = log_prob_of_mode(distribution, actions)
    assert th.equal(of_mode, distribution.log_prob(actions))
    of_mode.sum().backward()
    before_squashing = th.atanh(actions) if kind is SquashedDiagGaussianDistribution else actions
    expected = (before_squashing - mean.detach()) / th.exp(2 * log_std.detach())
    assert th.allclose(mean.grad, expected, atol=1e-4)
    assert log_std.grad is None


@pytest.mark.parametrize("squash", [False, True])
def test_mode_leaves_state_dependent_noise_alone(squash):
    mean, log_std = th.tensor([[0.2]], requires_grad=True), th.full((2, 1), -1.0, requires_grad=True)
    distribution = sde(mean, log_std, th.tensor([[1.0, 2.0]]), squash)
    log_prob_of_mode(distribution, th.tensor([[0.5]])).sum().backward()
    assert mean.grad.abs().item() > 0.1
    assert log_std.grad is None
    mean.grad = None
    sde(mean, log_std, th.tensor([[1.0, 2.0]]), squash).log_prob(th.tensor([[0.5]])).sum().backward()
    assert log_std.grad.abs().max().item() > 1e-3, "the ordinary log-probability trains the spread"


def test_the_mode_of_a_choice_is_smoothed_by_hand():
    log_probs = th.log(th.tensor([[0.7, 0.2, 0.1]]))
    distribution = CategoricalDistribution(3).proba_distribution(log_probs)
    expected = 0.8 * np.log(0.7) + 0.2 * (np.log(0.7) + np.log(0.2) + np.log(0.1)) / 3
    assert log_prob_of_mode(distribution, th.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["categorical", "multicategorical", "bernoulli"])
def test_imitating_the_mode_of_a_choice_leaves_the_others_a_share(family):
    n_choices = {"categorical": [4], "multicategorical": [2, 3], "bernoulli": [2, 2]}[family]
    width = 2 if family == "bernoulli" else sum(n_choices)
    distribution = {
        "categorical": lambda: CategoricalDistribution(4),
        "multicategorical": lambda: MultiCategoricalDistribution([2, 3]),
        "bernoulli": lambda: BernoulliDistribution(2),
    }[family]()
    logits = th.zeros(1, width, requires_grad=True)
    action = th.tensor([2]) if family == "categorical" else th.tensor([[1, 1]]).float()
    optimizer = th.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        (-log_prob_of_mode(distribution.proba_distribution(logits), action)).sum().backward()
        optimizer.step()
    chance = th.exp(distribution.proba_distribution(logits).log_prob(action)).item()
    assert chance == pytest.approx(np.prod([1 - MODE_SMOOTHING + MODE_SMOOTHING / n for n in n_choices]), abs=0.01)


def test_a_smoothed_mode_leaves_what_a_mask_forbids_alone():
    free = CategoricalDistribution(2).proba_distribution(th.tensor([[0.3, -0.2]]))
    both = th.tensor([[0.3, -0.2, 0.0]]).masked_fill(th.tensor([[False, False, True]]), -1e8)
    masked_one = CategoricalDistribution(3).proba_distribution(both)
    action = th.tensor([1])
    assert log_prob_of_mode(masked_one, action).item() == pytest.approx(log_prob_of_mode(free, action).item(), abs=1e-6)


@pytest.mark.parametrize("family", [family for family in FAMILIES if "squashed" not in family])
def test_relative_density_is_zero_at_the_mode_and_negative_elsewhere(family):
    distribution = FAMILIES[family](4)
    assert log_relative_density(distribution, distribution.log_prob(distribution.mode())).tolist() == [0.0] * 4
    th.manual_seed(0)
    draws = [distribution.log_prob(distribution.sample()) for _ in range(20)]
    relative = th.stack([log_relative_density(distribution, draw) for draw in draws])
    assert relative.max().item() <= 0.0
    assert relative.min().item() < -0.1


def test_relative_density_of_a_gaussian_is_minus_half_the_squared_distance():
    distribution = gaussian([[1.0, 0.0]], [0.5, 2.0])
    log_prob = distribution.log_prob(th.tensor([[2.0, 1.0]]))  # 2 and 0.5 standard deviations off
    assert log_relative_density(distribution, log_prob).item() == pytest.approx(-0.5 * (4 + 0.25) / 2, rel=1e-5)
