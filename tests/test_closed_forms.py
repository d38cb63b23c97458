"""Closed forms of the imitation loss's gradient: equal to autograd's, on NumPy's arrays and on torch's."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import stable_baselines3.common.distributions as sb3_distributions
import torch as th
from helpers import EXPERTS, ToyEnv
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from nlf_sb3 import A2C, PPO, REINFORCE, Demonstrations
from nlf_sb3.buffers import keep_feedback
from nlf_sb3.buffers.labels import SAMPLE
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import categorical_nll, gaussian_nll, has_closed_form, negative_log_prob_gradients
from nlf_sb3.distributions import log_prob_of_labels
from nlf_sb3.objectives.imitation import ImitationTerm
from nlf_sb3.policies import SoftplusGaussianDistribution
from nlf_sb3.teachers import CallableExpert

B, DIM, CHOICES = 7, 3, 4


def distribution_of(family, seed=0):
    """An SB3 distribution of B rows and the leaf tensors that its parameters come from."""
    th.manual_seed(seed)
    if family == "categorical":
        leaves = [th.randn(B, CHOICES, requires_grad=True)]
        return sb3_distributions.CategoricalDistribution(CHOICES).proba_distribution(leaves[0]), leaves
    if family == "softplus":
        leaves = [th.randn(B, 2 * DIM, requires_grad=True)]
        return SoftplusGaussianDistribution(DIM).proba_distribution(leaves[0], None), leaves
    leaves = [th.randn(B, DIM, requires_grad=True), th.randn(DIM, requires_grad=True)]
    return sb3_distributions.DiagGaussianDistribution(DIM).proba_distribution(*leaves), leaves


def rows_of(family, seed=1):
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, CHOICES, B) if family == "categorical" else rng.normal(size=(B, DIM)).astype(np.float32)
    return actions, rng.uniform(0, 2, B).astype(np.float32)


def leaf_gradients(leaves, tensors, gradients):
    return th.autograd.grad(tensors, leaves, grad_outputs=gradients, allow_unused=True, retain_graph=True)


def assert_close(first, second):
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert th.allclose(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("family", ["gaussian", "softplus", "categorical"])
def test_gradients_and_divergences_equal_autograd_s(family, as_torch):
    distribution, leaves = distribution_of(family)
    actions, weights = rows_of(family)
    divergences, cotangents = negative_log_prob_gradients(
        distribution, *((th.as_tensor(actions), th.as_tensor(weights)) if as_torch else (actions, weights))
    )
    by_autograd = -distribution.log_prob(th.as_tensor(actions))
    assert np.asarray(divergences) == pytest.approx(by_autograd.detach().numpy(), rel=1e-5, abs=1e-5)
    tensors, gradients = zip(*cotangents, strict=True)
    expected = leaf_gradients(leaves, [(th.as_tensor(weights) * by_autograd).sum()], [th.ones(())])
    assert_close(leaf_gradients(leaves, tensors, gradients), expected)
    assert max(float(gradient.abs().max()) for gradient in expected) > 0.1


@pytest.mark.parametrize("as_torch", [False, True])
def test_rows_whose_spread_is_not_trained_move_the_mean_alone(as_torch):
    distribution, leaves = distribution_of("gaussian")
    actions, weights = rows_of("gaussian")
    trains_std = np.arange(B) % 2 == 0
    given_rows = (actions, weights, trains_std)
    _, cotangents = negative_log_prob_gradients(distribution, *(map(th.as_tensor, given_rows) if as_torch else given_rows))
    normal = distribution.distribution
    frozen = th.where(th.as_tensor(trains_std)[:, None], normal.scale, normal.scale.detach())
    by_autograd = -th.distributions.Normal(normal.loc, frozen).log_prob(th.as_tensor(actions)).sum(dim=1)
    tensors, gradients = zip(*cotangents, strict=True)
    expected = leaf_gradients(leaves, [(th.as_tensor(weights) * by_autograd).sum()], [th.ones(())])
    assert_close(leaf_gradients(leaves, tensors, gradients), expected)

    _, cotangents = negative_log_prob_gradients(distribution, actions, weights, False)
    assert len(cotangents) == 1
    assert cotangents[0][0] is normal.loc


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_modes_of_a_choice_are_smoothed_as_by_autograd(as_torch, is_mixed):
    distribution, leaves = distribution_of("categorical")
    actions, weights = rows_of("categorical")
    is_mode = np.arange(B) % 2 == 0 if is_mixed else np.ones(B, dtype=bool)
    given_rows = (actions, weights, ~is_mode) if is_mixed else (actions, weights)
    rows = [*(map(th.as_tensor, given_rows) if as_torch else given_rows)]
    divergences, cotangents = negative_log_prob_gradients(distribution, *rows, *([] if is_mixed else [False]))
    by_autograd = -log_prob_of_labels(distribution, th.as_tensor(actions), th.as_tensor(is_mode))
    assert np.asarray(divergences) == pytest.approx(by_autograd.detach().numpy(), rel=1e-5, abs=1e-5)
    tensors, gradients = zip(*cotangents, strict=True)
    expected = leaf_gradients(leaves, [(th.as_tensor(weights) * by_autograd).sum()], [th.ones(())])
    assert_close(leaf_gradients(leaves, tensors, gradients), expected)


def test_a_gaussian_by_hand():
    # One row, mean 1, standard deviation 2, action 5, so z = 2: -log p = 2 + log 2 + log(2 pi)/2.
    divergences, by_mean, by_std = gaussian_nll(*(np.array([[x]]) for x in (1.0, 2.0, 5.0)), np.array([3.0]))
    assert divergences == pytest.approx([2.0 + np.log(2.0) + 0.5 * np.log(2 * np.pi)])
    assert by_mean == pytest.approx(np.array([[-3.0]]))  # -w z / sigma
    assert by_std == pytest.approx(np.array([[-4.5]]))  # w (1 - z^2) / sigma


def test_a_categorical_by_hand():
    logits = np.log([[0.2, 0.8], [0.5, 0.5]])
    divergences, by_logits = categorical_nll(logits, np.array([1, 0]), np.array([2.0, 3.0]))
    assert divergences == pytest.approx([-np.log(0.8), np.log(2.0)])
    assert by_logits == pytest.approx(np.array([[0.0, -2.0], [-3.0, 0.0]]))


@given(seed=st.integers(0, 10**6), zero=st.lists(st.booleans(), min_size=B, max_size=B))
def test_rows_of_weight_zero_send_nothing_back(seed, zero):
    for family in ("gaussian", "softplus", "categorical"):
        distribution, _ = distribution_of(family, seed)
        actions, weights = rows_of(family, seed)
        weights = np.where(zero, np.float32(0), weights)
        for _, gradient in negative_log_prob_gradients(distribution, actions, weights)[1]:
            assert not gradient[th.as_tensor(zero)].any()


def test_other_distributions_are_left_to_autograd():
    assert not has_closed_form(sb3_distributions.SquashedDiagGaussianDistribution(2))
    assert not has_closed_form(sb3_distributions.StateDependentNoiseDistribution(2))
    assert not has_closed_form(sb3_distributions.MultiCategoricalDistribution([2, 3]))
    assert not has_closed_form(sb3_distributions.BernoulliDistribution(2))


@pytest.mark.parametrize("label", ["sample", "mode"])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("algorithm", [A2C, PPO, REINFORCE])
def test_training_with_it_is_training_with_autograd(algorithm, action, label, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return negative_log_prob_gradients(*args)

    monkeypatch.setattr("nlf_sb3.objectives.imitation.negative_log_prob_gradients", counted)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(20, 3)).astype(np.float32)
    demonstrations = Demonstrations(observations, EXPERTS[action](observations), label=label)
    settings = {
        A2C: {"n_steps": 16, "use_rms_prop": False},
        PPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 3},
        REINFORCE: {"n_episodes": 4, "batch_size": 2},
    }[algorithm]

    def trained(closed_form):
        model = algorithm(
            "MlpPolicy",
            ToyEnv(action),
            expert=CallableExpert(EXPERTS[action], label=label),
            demonstrations=demonstrations,
            seed=0,
            device="cpu",
            policy_kwargs={"optimizer_class": th.optim.SGD},
            learning_rate=0.05,
            **settings,
        )
        model.closed_form_imitation = closed_form
        before = copy.deepcopy(model.policy.state_dict())
        model.learn(64)
        return before, model.policy.state_dict()

    before, closed = trained(True)
    assert calls
    calls.clear()
    _, by_autograd = trained(False)
    assert not calls
    assert max(float((closed[name] - before[name]).abs().max()) for name in before) > 1e-3
    for name, value in closed.items():
        assert th.allclose(value, by_autograd[name], atol=1e-5)


@pytest.mark.parametrize("closed_form", [False, True])
def test_a_frozen_spread_can_be_trained_around_and_observed(closed_form, logged):
    model = A2C(
        "MlpPolicy",
        ToyEnv("box"),
        expert=CallableExpert(EXPERTS["box"], label="sample"),
        log_gradients=True,
        n_steps=16,
        seed=0,
        device="cpu",
    )
    model.closed_form_imitation = closed_form
    model.policy.log_std.requires_grad_(False)
    norms = logged(model)
    model.learn(32)
    assert th.equal(model.policy.log_std, th.zeros(2))
    assert min(norms("train/imitation_gradient_norm")) > 0


@pytest.mark.parametrize("closed_form", [False, True])
def test_rows_without_labels_have_no_say_even_where_their_likelihood_is_zero(closed_form):
    distribution = sb3_distributions.CategoricalDistribution(3).proba_distribution(th.tensor([[-np.inf, 0.0, 0.0]] * 4))
    policy = SimpleNamespace(action_dist=distribution, device=th.device("cpu"), action_space=ToyEnv("discrete").action_space)
    buffer = keep_feedback(RolloutBuffer(4, ToyEnv().observation_space, policy.action_space, device="cpu"))
    for step in (1, 3):  # the other rows' labels are 0, the choice that is none
        buffer.label_kinds[step], buffer.label_actions[step], buffer.label_weights[step] = SAMPLE, 2, 1.0
    term = ImitationTerm(
        policy,
        buffer,
        expert_distribution=None,
        shown=None,
        shown_weights=None,
        shown_is_mode=None,
        mode_trains_std=False,
        closed_form=closed_form,
        rng=np.random.default_rng(0),
    )
    cotangents = term(Minibatch(np.arange(4)))
    assert term.losses == [pytest.approx(np.log(2.0))]
    assert all(th.isfinite(gradient).all() for _, gradient in cotangents)
