"""What labels count: each rule's numbers by hand, and what reaches the loss."""

import math

import numpy as np
import pytest
import torch as th
from learners import terms_of
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
)

from nlf_sb3 import A2C, PPO, REINFORCE, TRPO, Demonstrations, Imitation, LabelReplay
from nlf_sb3.distributions import score_cosine
from nlf_sb3.errors import FeedbackError
from nlf_sb3.label_weights import (
    AdvantageGate,
    AdvantageSpread,
    EntropyWeight,
    LabelledRollout,
    LargestAdvantage,
    TrustGate,
    label_factors,
)
from tests.helpers import GaussianExpert, ToyEnv, box_expert, discrete_expert, parameters_of


def categorical(*probabilities):
    distribution = CategoricalDistribution(len(probabilities[0]))
    return distribution.proba_distribution(th.log(th.tensor(probabilities)))


def gaussian(mean, log_std):
    return DiagGaussianDistribution(len(mean[0])).proba_distribution(th.tensor(mean), th.tensor(log_std))


def rollout(advantages, actions=(0, 1, 0), labels=(0, 0, 0), is_labelled=None, distribution=None):
    n = len(advantages)
    distribution = distribution or categorical(*[[0.5, 0.5]] * n)
    is_labelled = np.ones(n, dtype=bool) if is_labelled is None else np.array(is_labelled)
    return LabelledRollout(distribution, th.tensor(actions), th.tensor(labels), is_labelled, np.array(advantages, np.float32))


def test_of_two_even_choices_the_same_agrees_and_the_other_is_the_opposite():
    cosine = score_cosine(categorical([0.5, 0.5], [0.5, 0.5]), th.tensor([0, 0]), th.tensor([0, 1]))
    assert cosine.tolist() == pytest.approx([1.0, -1.0])


def test_of_three_uneven_choices_by_hand():
    # Scores: (1,0,0) - p = (0.5, -0.3, -0.2) and (0,1,0) - p = (-0.5, 0.7, -0.2).
    first, second = np.array([0.5, -0.3, -0.2]), np.array([-0.5, 0.7, -0.2])
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert score_cosine(categorical([0.5, 0.3, 0.2]), th.tensor([0]), th.tensor([1])).item() == pytest.approx(expected)


def test_of_a_gaussian_spreads_make_directions():
    # Scores by the mean: (1/1, 1/4) and (1/1, -1/4).
    distribution = gaussian([[0.0, 0.0]], [0.0, math.log(2.0)])
    cosine = score_cosine(distribution, th.tensor([[1.0, 1.0]]), th.tensor([[1.0, -1.0]]))
    assert cosine.item() == pytest.approx((1 - 1 / 16) / (1 + 1 / 16))


def test_several_choices_and_bits_are_one_direction():
    several = MultiCategoricalDistribution([2, 2]).proba_distribution(th.zeros(1, 4))
    assert score_cosine(several, th.tensor([[0, 0]]), th.tensor([[0, 1]])).item() == pytest.approx(0.0)
    bits = BernoulliDistribution(2).proba_distribution(th.zeros(1, 2))
    assert score_cosine(bits, th.tensor([[1.0, 1.0]]), th.tensor([[0.0, 0.0]])).item() == pytest.approx(-1.0)


def test_squashed_distributions_are_refused():
    squashed = SquashedDiagGaussianDistribution(1).proba_distribution(th.zeros(1, 1), th.zeros(1))
    with pytest.raises(FeedbackError, match="squashed"):
        score_cosine(squashed, th.zeros(1, 1), th.zeros(1, 1))


def test_scales_by_advantages():
    assert LargestAdvantage()(rollout([-1.0, 3.0, 2.0])) == 3.0
    assert LargestAdvantage()(rollout([-1.0, -3.0, -2.0])) == 0.0
    assert AdvantageSpread()(rollout([0.0, 3.0, 0.0])) == pytest.approx(math.sqrt(2.0))


def test_entropy_of_an_even_choice_is_log_two_and_of_a_sure_one_nothing():
    weights = EntropyWeight(coef=0.5)(rollout([0.0, 0.0], (0, 0), (0, 0), distribution=categorical([0.5, 0.5], [1.0, 1e-30])))
    assert weights == pytest.approx([0.25, 0.5])
    narrow = EntropyWeight(coef=0.5)(
        rollout([0.0], [[0.0]], [[0.0]], distribution=gaussian([[0.0]], [-5.0]))  # H is below 0
    )
    assert narrow == pytest.approx([0.5])


def test_the_gate_closes_where_the_same_did_badly_and_where_the_other_did_well():
    # Actions 0, 1, 0, 1; label 0: agreement 1, -1, 1, -1.
    opened = AdvantageGate(margin=0.5)(rollout([2.0, 2.0, -2.0, -2.0], (0, 1, 0, 1), (0, 0, 0, 0)))
    assert opened.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert AdvantageGate(margin=2.5)(rollout([2.0, 2.0, -2.0, -2.0], (0, 1, 0, 1), (0, 0, 0, 0))).tolist() == [1.0] * 4


def test_trust_by_hand():
    # Advantages less their mean: 1, -1; agreement 1, -1: evidence 1, 1; z = 2 / sqrt(2).
    trust = TrustGate(threshold=2.0, memory=0.5)
    assert trust(rollout([1.0, -1.0], (0, 1), (0, 0))) == 1.0
    assert trust.z_score == pytest.approx(math.sqrt(2.0))
    # Against it twice as much: total 1 - 4, variance 0.5 + 8.
    assert trust(rollout([-2.0, 2.0], (0, 1), (0, 0))) == pytest.approx(1.0 - 3.0 / math.sqrt(8.5) / 2.0)


def test_trust_sees_labels_alone():
    trust = TrustGate()
    trust(rollout([1.0, -1.0, 50.0], (0, 1, 1), (0, 0, 0), is_labelled=[True, True, False]))
    assert trust.z_score == pytest.approx(math.sqrt(2.0))


def test_factors_are_multiplied_and_those_for_all_kept_apart():
    factors = label_factors([lambda r: 2.0, lambda r: np.array([0.0, 1.0, 3.0]), lambda r: 0.5], rollout([0.0] * 3))
    assert factors.shared == 1.0
    assert factors.of_rows.tolist() == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.ones(2), np.array([1.0, 1.0, np.inf])], ids=str)
def test_factors_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"Imitation.weights: function gave .* expected a finite number of at least 0"):
        label_factors([lambda r: wrong], rollout([0.0] * 3))


SIZES = {PPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 2}, A2C: {"n_steps": 32}, TRPO: {"n_steps": 32, "batch_size": 16}}


def model_of(algorithm, action="box", **arguments):
    return algorithm("MlpPolicy", ToyEnv(action), seed=3, device="cpu", **SIZES.get(algorithm, {}), **arguments)


@pytest.mark.parametrize("algorithm", [PPO, A2C, REINFORCE, TRPO])
def test_a_factor_for_all_rows_weighs_as_weights_do(algorithm):
    """Half the weight of every label by a rule for rows, by one for all, and by labels that weigh half are the same."""
    by_rows = model_of(
        algorithm, expert=box_expert, imitation=Imitation(weights=[lambda r: np.full(len(r.advantages), 0.5)])
    ).learn(64)
    by_number = model_of(algorithm, expert=box_expert, imitation=Imitation(weights=[lambda r: 0.5])).learn(64)
    plain = model_of(algorithm, expert=box_expert).learn(64)
    assert parameters_of(by_rows.policy).equal(parameters_of(by_number.policy))
    assert not parameters_of(by_rows.policy).equal(parameters_of(plain.policy))


@pytest.mark.parametrize("algorithm", [PPO, A2C, REINFORCE, TRPO])
def test_factors_of_nothing_leave_the_policy_gradient(algorithm):
    # alpha scales both alike where imitation has no weight, and Adam and RMSprop don't see a scale that stays.
    weighed = model_of(algorithm, expert=box_expert, imitation=Imitation(weights=[lambda r: 0.0]), alpha=0.5)
    seen = []
    weighed.imitation = Imitation(weights=[lambda r: seen.append(len(r.advantages)) or 0.0])
    weighed.learn(64)
    assert seen
    assert weighed.logger.name_to_value.get("feedback/label_weight_mean", 0.0) == 0.0


def imitation_loss(*rules, loss="nll", **arguments):
    """Of a first rollout, which rules don't change."""
    model = model_of(A2C, imitation=Imitation(loss, weights=rules), learning_rate=0.0, **arguments).learn(32)
    return model.logger.name_to_value["train/imitation_loss"]


def test_half_the_weight_is_half_the_imitation_gradient():
    whole = imitation_loss(expert=box_expert)
    assert imitation_loss(lambda r: 0.5, expert=box_expert) == pytest.approx(whole / 2, rel=1e-5)


def test_demonstrations_take_the_factors_for_all():
    rows = Demonstrations(np.zeros((8, 3), np.float32), np.full((8, 2), 0.5, np.float32))
    whole = imitation_loss(demonstrations=rows)
    assert imitation_loss(lambda r: 0.25, demonstrations=rows) == pytest.approx(whole / 4, rel=1e-5)


def test_the_analytic_kl_is_weighed_row_by_row():
    def every_second(rollout):
        return (np.arange(len(rollout.advantages)) % 2).astype(float)

    expert = {"expert": GaussianExpert(), "loss": "kl"}
    whole = imitation_loss(**expert)
    assert imitation_loss(lambda r: 0.5, **expert) == pytest.approx(whole / 2, rel=1e-5)
    assert 0 < imitation_loss(every_second, **expert) < whole


def test_a_rule_sees_the_rollout_as_it_is():
    seen = []
    model = model_of(PPO, "discrete", expert=discrete_expert, imitation=Imitation(weights=[lambda r: seen.append(r) or 1.0]))
    model.learn(32)
    (one,) = seen
    assert one.advantages.mean() == pytest.approx(0.0, abs=1e-5)
    assert one.advantages.std(ddof=1) == pytest.approx(1.0, abs=1e-4)
    assert one.is_labelled.all()
    assert one.actions.shape == one.labels.shape == (32,)


@pytest.mark.parametrize("rules", [[TrustGate()], [AdvantageGate(), EntropyWeight()], [LargestAdvantage(), AdvantageSpread()]])
@pytest.mark.parametrize("action", ["box", "discrete", "multidiscrete", "multibinary"])
def test_every_rule_trains_in_every_space(rules, action):
    def expert(observations):
        n = len(observations)
        return {
            "box": np.zeros((n, 2), np.float32),
            "discrete": np.zeros(n, int),
            "multidiscrete": np.zeros((n, 2), int),
            "multibinary": np.zeros((n, 2), int),
        }[action]

    model = model_of(PPO, action, expert=expert, imitation=Imitation(weights=rules)).learn(64)
    assert bool(th.isfinite(parameters_of(model.policy)).all())


def test_rules_are_saved_with_their_state(tmp_path):
    model = model_of(
        PPO, expert=box_expert, imitation=Imitation(weights=[TrustGate(threshold=1.5), EntropyWeight(0.3)])
    ).learn(64)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=ToyEnv("box"))
    assert loaded.imitation == model.imitation
    assert loaded.imitation.weights[0].variance > 0


@pytest.mark.parametrize("wrong", ["trust", [0.5], TrustGate()], ids=str)
def test_what_is_no_list_of_rules_is_refused(wrong):
    with pytest.raises(ValueError, match=r"Imitation.weights: got .* expected a list of rules"):
        Imitation(weights=wrong)


def test_impossible_settings_of_trust():
    with pytest.raises(ValueError, match="threshold: got 0"):
        TrustGate(threshold=0)
    with pytest.raises(ValueError, match="memory: got 1"):
        TrustGate(memory=1)


def test_reinforce_s_rules_see_advantages_as_its_loss_takes_them():
    seen = []
    model_of(REINFORCE, expert=box_expert, imitation=Imitation(weights=[lambda r: seen.append(r.advantages) or 1.0])).learn(64)
    assert seen[0].mean() == pytest.approx(0.0, abs=1e-5)
    assert seen[0].std() == pytest.approx(1.0, abs=1e-4)


def test_a_new_training_trusts_anew():
    model = model_of(PPO, expert=box_expert, imitation=Imitation(weights=[TrustGate()])).learn(64)
    trust = model.imitation.weights[0]
    trust.total = -1e6
    model.learn(32)
    assert trust.total > -1e5
    assert trust.variance > 0


def test_remembered_labels_keep_what_rules_said_of_their_rows_and_hear_what_they_say_of_all():
    def halves(rollout):
        return (np.arange(len(rollout.advantages)) % 2).astype(float)

    model = model_of(
        PPO, expert=box_expert, imitation=Imitation(weights=[halves, lambda r: 0.5], replay=LabelReplay(100))
    ).learn(32)
    kept = model.feedback.labelling.memory.draw(32, np.random.default_rng(0))
    assert sorted(kept.weights.tolist()) == [0.0] * 16 + [1.0] * 16
    terms = terms_of(model)
    model.expert = None  # nobody to ask any more: what is remembered is still weighed
    model.learn(32, reset_num_timesteps=False)
    assert sorted(terms[0].imitation.shown_weights.tolist()) == [0.0] * 16 + [0.5] * 16
