"""Policies that make their own distributions: labels train what acts, or are refused when the model is made."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import parameters_of
from own_policies import (
    ActsOtherwise,
    BetaDistribution,
    ByItself,
    Drops,
    EvaluatesOtherwise,
    IsBeta,
    IsHiddenBeta,
    IsShifted,
    IsUnsummedBeta,
    MakesAnew,
    Refills,
    ShiftsChoices,
    StillEnv,
    policy_class,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

import nlf_sb3
from nlf_sb3 import (
    Demonstrations,
    Feedback,
    FeedbackError,
    FeedbackWrapper,
    Imitation,
    Injection,
    LabelReplay,
    TrajectoryInjection,
)
from nlf_sb3.label_weights import AdvantageGate, EntropyWeight
from nlf_sb3.teachers import CallableExpert
from nlf_sb3.text import RuleInterpreter

LABEL = 0.2


KINDS = [MakesAnew, Refills, ByItself, IsBeta, IsHiddenBeta, IsShifted]
SETTINGS = {
    "PPO": {"n_steps": 40, "batch_size": 16, "n_epochs": 4},
    "A2C": {"n_steps": 10},
    "TRPO": {"n_steps": 40, "target_kl": 0.1},
    "REINFORCE": {"n_episodes": 2},
    "RecurrentPPO": {"n_steps": 40, "batch_size": 20, "n_epochs": 4, "learning_rate": 0.03},
}


def expert():
    return CallableExpert(lambda observations: np.full((len(observations), 1), LABEL, np.float32), label="mode")


def some_labelled(env: gym.Env) -> gym.Env:
    """One step in three has a label."""
    steps = itertools.count()

    def teach(transition):
        return Feedback(expert_action=np.full(1, LABEL, np.float32), label="mode") if next(steps) % 3 == 0 else None

    return FeedbackWrapper(env, teach)


def made(algorithm: str, policy: type, env: gym.Env, **kwargs):
    own = {"lstm_hidden_size": 8} if algorithm == "RecurrentPPO" else {}
    policy_kwargs = {"net_arch": [8], **own, **kwargs.pop("policy_kwargs", {})}
    settings = {"alpha": 0.0, "learning_rate": 0.02, "seed": 0, "device": "cpu", **SETTINGS[algorithm], **kwargs}
    return getattr(nlf_sb3, algorithm)(policy, env, policy_kwargs=policy_kwargs, **settings)


def acts(model) -> float:
    return float(model.predict(model.env.reset(), deterministic=True)[0][0, 0])


# --- labels train what acts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "kind", "labels"),
    [
        ("PPO", MakesAnew, "every"),
        ("A2C", MakesAnew, "some"),
        ("TRPO", MakesAnew, "some"),
        ("REINFORCE", MakesAnew, "every"),
        ("RecurrentPPO", MakesAnew, "some"),
        ("RecurrentPPO", IsShifted, "every"),
        ("RecurrentPPO", IsBeta, "some"),
        ("PPO", Refills, "some"),
        ("REINFORCE", Refills, "some"),
        ("PPO", ByItself, "some"),
        ("A2C", ByItself, "every"),
        ("TRPO", ByItself, "every"),
        ("PPO", Drops, "every"),
        ("PPO", IsBeta, "every"),
        ("A2C", IsBeta, "some"),
        ("TRPO", IsBeta, "some"),
        ("REINFORCE", IsBeta, "some"),
        ("PPO", IsHiddenBeta, "some"),
        ("A2C", IsHiddenBeta, "every"),
        ("PPO", IsShifted, "some"),
        ("TRPO", IsShifted, "every"),
        ("REINFORCE", IsShifted, "every"),
    ],
)
def test_the_policy_acts_as_its_labels_say(algorithm, kind, labels):
    base = RecurrentActorCriticPolicy if algorithm == "RecurrentPPO" else ActorCriticPolicy
    policy = policy_class(kind, base)
    if labels == "every":
        model = made(algorithm, policy, StillEnv(), expert=expert())
    else:
        model = made(algorithm, policy, some_labelled(StillEnv()))
    model.learn(320 if algorithm == "RecurrentPPO" else 600 if algorithm == "PPO" else 1200)
    assert acts(model) == pytest.approx(LABEL, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_demonstrations_and_memory_train_what_acts(kind):
    shown = Demonstrations(np.zeros((8, 2), np.float32), np.full((8, 1), LABEL, np.float32), label="sample")
    env = some_labelled(StillEnv())
    model = made(
        "PPO", policy_class(kind), env, demonstrations=shown, imitation=Imitation(replay=LabelReplay(50)), log_gradients=True
    ).learn(600)
    assert acts(model) == pytest.approx(LABEL, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_to_be_avoided_push_away_from_what_acts(kind):
    def blame(transition):
        return Feedback(text="That was wrong.") if transition.action[0] < 0.5 else None

    env = FeedbackWrapper(StillEnv(), blame)
    model = made("PPO", policy_class(kind), env, interpreter=RuleInterpreter(env.action_space))
    before = acts(model)
    model.learn(240)
    assert acts(model) > before + 0.02


def test_dictionaries_of_observations():
    policy = policy_class(MakesAnew, MultiInputActorCriticPolicy)
    dictionary = made("PPO", policy, some_labelled(StillEnv(is_dict=True))).learn(600)
    assert acts(dictionary) == pytest.approx(LABEL, abs=0.05)


@pytest.mark.parametrize("algorithm", ["A2C", "MaskablePPO"])
def test_choices(algorithm):
    base = MaskableActorCriticPolicy if algorithm == "MaskablePPO" else ActorCriticPolicy
    env = StillEnv()
    env.action_space = gym.spaces.Discrete(3)
    env.action_masks = lambda: np.array([True, True, False])
    settings = {"A2C": {"n_steps": 10}, "MaskablePPO": {"n_steps": 40, "batch_size": 16, "n_epochs": 4}}[algorithm]
    model = getattr(nlf_sb3, algorithm)(
        policy_class(ShiftsChoices, base),
        env,
        expert=lambda observations: np.zeros(len(observations), np.int64),
        alpha=0.0,
        learning_rate=0.02,
        policy_kwargs={"net_arch": [8]},
        seed=0,
        **settings,
    )
    assert model.predict(np.zeros(2, np.float32), deterministic=True)[0] == 1
    model.learn(800)
    assert model.predict(np.zeros(2, np.float32), deterministic=True)[0] == 0


# --- what else reads the distribution -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["takeover", "fork"])
def test_injected_rows_and_weights_by_entropy_and_mode(kind, mode):
    twin = {"twin": StillEnv} if mode == "fork" else {}
    env = TrajectoryInjection(StillEnv(), expert(), 0.3, mode=mode, **twin)
    weights = [] if kind is IsBeta else [EntropyWeight()]
    model = made(
        "PPO",
        policy_class(kind),
        env,
        expert=expert(),
        imitation=Imitation(weights=weights),
        injection=Injection(row_weight="shaping"),
    )
    model.learn(160)
    assert bool(th.isfinite(parameters_of(model.policy)).all())
    assert model.num_expert_steps > 0


@pytest.mark.parametrize("kind", [MakesAnew, Refills, ByItself])
def test_gaussians_of_a_policys_own_making_are_known_ones(kind):
    """Analytic KL, weights that compare actions, closed forms: all as with the distribution of SB3's policy."""

    class Draws(CallableExpert):
        def distribution(self, observations):
            means = th.full((len(observations), 1), LABEL)
            return DiagGaussianDistribution(1).proba_distribution(means, th.zeros(1))

    sampling = Draws(lambda observations: np.full((len(observations), 1), LABEL, np.float32), label="sample")
    by_kl = made("PPO", policy_class(kind), StillEnv(), expert=sampling, imitation="kl").learn(600)
    assert acts(by_kl) == pytest.approx(LABEL, abs=0.05)
    gated = made("PPO", policy_class(kind), StillEnv(), expert=expert(), imitation=Imitation(weights=[AdvantageGate()])).learn(
        600
    )
    assert acts(gated) == pytest.approx(LABEL, abs=0.05)
    trained = []
    for closed_form in (True, False):
        model = made("A2C", policy_class(kind), StillEnv(), expert=expert())
        model.closed_form_imitation = closed_form
        trained.append(parameters_of(model.learn(50).policy))
    assert (trained[0] - trained[1]).abs().max() < 1e-5


def test_a_mode_leaves_the_spread_of_a_gaussian_subclass_alone():
    model = made("PPO", policy_class(IsShifted), StillEnv(), expert=expert(), ent_coef=0.0).learn(160)
    assert model.policy.log_std.tolist() == [0.0]


def test_auxiliary_losses_find_the_distribution_of_their_minibatch():
    seen = []

    class Watches:
        name = "watched"

        def __call__(self, model, batch):
            with th.no_grad():
                seen.append(float(batch.distribution.mode().mean()))

    made("A2C", policy_class(MakesAnew), StillEnv(), auxiliary_losses=[Watches()], learning_rate=0.0).learn(20)
    assert len(seen) == 2
    assert seen == pytest.approx([0.5, 0.5], abs=0.05)


@pytest.mark.parametrize("kind", [MakesAnew, IsBeta])
@pytest.mark.parametrize("algorithm", ["PPO", "TRPO"])
def test_saved_and_loaded_it_goes_on_the_same(algorithm, kind, tmp_path):
    policy = policy_class(kind)
    model = made(algorithm, policy, StillEnv(), expert=expert()).learn(80)
    model.save(tmp_path / "model")
    loaded = getattr(nlf_sb3, algorithm).load(tmp_path / "model", StillEnv(), expert=expert())
    assert acts(loaded) == acts(model)
    loaded.learn(600 if algorithm == "PPO" else 1200, reset_num_timesteps=False)
    assert acts(loaded) == pytest.approx(LABEL, abs=0.05)


# --- refusals, when the model is made -----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "TRPO", "REINFORCE"])
@pytest.mark.parametrize("kind", [ActsOtherwise, EvaluatesOtherwise, IsUnsummedBeta])
def test_a_policy_that_cant_be_imitated_is_refused_by_name(algorithm, kind):
    with pytest.raises(FeedbackError, match=f"policy: {kind.__name__}Policy"):
        made(algorithm, policy_class(kind), StillEnv(), expert=expert())
    with pytest.raises(FeedbackError, match=f"policy: {kind.__name__}Policy"):
        made(algorithm, policy_class(kind), some_labelled(StillEnv()))


@pytest.mark.parametrize("settings", [{"imitation": "kl"}, {"imitation": Imitation(weights=[AdvantageGate()])}])
def test_what_needs_means_or_logits_is_refused_where_there_are_none(settings):
    class Draws(CallableExpert):
        def distribution(self, observations):
            return None

    sampling = Draws(lambda observations: np.full((len(observations), 1), LABEL, np.float32), label="sample")
    with pytest.raises(FeedbackError, match=r"policy: BetaDistribution is .* known by its log_prob alone"):
        made("PPO", policy_class(IsBeta), StillEnv(), expert=sampling, **settings)


def test_a_distribution_that_doesnt_cover_the_actions_is_refused():
    class Narrow(BetaDistribution):
        def log_prob(self, actions):
            return self.beta.log_prob(actions).sum(dim=1)

    class IsNarrow(IsBeta):
        distribution_class = Narrow

    env = StillEnv()
    env.action_space = gym.spaces.Box(-2, 2, (1,), np.float32)
    with pytest.raises(FeedbackError, match="IsNarrowPolicy can't evaluate actions of Box"):
        made("PPO", policy_class(IsNarrow), env, expert=expert())


class Logarithms(BaseFeaturesExtractor):
    """Sees logarithms: observations below 0, which its environment doesn't have, are no numbers to it."""

    def __init__(self, space):
        super().__init__(space, 2)

    def forward(self, observations):
        return th.log(observations)


class PositiveEnv(StillEnv):
    """What it observes is above 0, whatever its space says."""

    def __init__(self):
        super().__init__()
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation = np.ones(2, np.float32)


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "TRPO", "REINFORCE"])
def test_a_policy_that_makes_nothing_of_made_up_observations_learns_from_real_ones(algorithm):
    kinds = {"features_extractor_class": Logarithms}
    model = made(algorithm, policy_class(MakesAnew), PositiveEnv(), expert=expert(), policy_kwargs=kinds).learn(320)
    assert acts(model) == pytest.approx(LABEL, abs=0.15)


def test_it_is_refused_by_real_ones_if_they_say_so():
    kinds = {"features_extractor_class": Logarithms}
    model = made("PPO", policy_class(EvaluatesOtherwise), PositiveEnv(), expert=expert(), policy_kwargs=kinds)
    with pytest.raises(FeedbackError, match=r"policy: EvaluatesOtherwisePolicy: .* evaluate_actions"):
        model.learn(40)


def test_spaces_that_have_no_samples_are_left_alone():
    class Plain(gym.spaces.Box):
        def sample(self, *args, **kwargs):
            raise NotImplementedError

    env = StillEnv()
    env.observation_space = Plain(-1, 1, (2,), np.float32)
    model = made("PPO", policy_class(MakesAnew), env, expert=expert()).learn(600)
    assert acts(model) == pytest.approx(LABEL, abs=0.05)


def test_without_anything_to_learn_from_such_policies_train_as_ever():
    made("PPO", policy_class(EvaluatesOtherwise), StillEnv()).learn(40)


def test_an_expert_that_comes_later_is_refused_when_learning_starts():
    model = made("PPO", policy_class(EvaluatesOtherwise), StillEnv())
    model.set_env(some_labelled(StillEnv()))
    with pytest.raises(FeedbackError, match="policy: EvaluatesOtherwisePolicy"):
        model.learn(40)


def test_a_label_without_likelihood_is_refused_by_name():
    class OpenBeta(BetaDistribution):
        def log_prob(self, actions):
            return self.beta.log_prob(actions).sum(dim=1)

    class IsOpen(IsBeta):
        distribution_class = OpenBeta

    at_the_bound = CallableExpert(lambda observations: np.zeros((len(observations), 1), np.float32))
    with pytest.raises(FeedbackError, match="label: its log-probability under IsOpenPolicy is no finite number"):
        made("PPO", policy_class(IsOpen), StillEnv(), expert=at_the_bound).learn(40)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_at_the_policy_moves_no_random_stream(kind):
    env = StillEnv()
    made("PPO", policy_class(kind), env, expert=expert())
    torchs, numpys = th.rand(1), np.random.random()
    made("PPO", policy_class(kind), env)
    assert th.equal(torchs, th.rand(1))
    assert numpys == np.random.random()
