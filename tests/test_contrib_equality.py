"""Without labels, or with labels at alpha = 1, training is sb3-contrib's, bit for bit, but for minibatches of one row."""

from __future__ import annotations

import functools
import inspect
import warnings

import pytest
import sb3_contrib
import torch as th
from contrib_helpers import ALL_EXPERTS, make, toy, vec_env
from helpers import OUR_ARGUMENTS, ToyEnv, assert_same_model, box_expert, largest_difference, parameters_of, teacher, watch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3.algorithms
from nlf_sb3 import Feedback, FeedbackWrapper, TrajectoryInjection

ALGORITHMS = ["TRPO", "RecurrentPPO", "MaskablePPO"]
STEPS = 96
UNEVEN = "ignore:You have specified a mini-batch size"


def case(algorithm, action, *, n_envs=2, learn=None, **kwargs):
    return {"algorithm": algorithm, "action": action, "n_envs": n_envs, "learn": learn or {}, "kwargs": kwargs}


CASES = {
    "TRPO, box": case("TRPO", "box"),
    "TRPO, discrete, one environment": case("TRPO", "discrete", n_envs=1),
    "TRPO, sub-sampled": case("TRPO", "box", sub_sampling_factor=2),
    "TRPO, sub-sampled, discrete, raw advantages": case("TRPO", "discrete", sub_sampling_factor=3, normalize_advantage=False),
    "TRPO, gSDE": case("TRPO", "box", use_sde=True),
    "TRPO, uneven minibatches": case("TRPO", "box", batch_size=12, n_critic_updates=2),
    "RecurrentPPO, box": case("RecurrentPPO", "box"),
    "RecurrentPPO, discrete, one environment": case("RecurrentPPO", "discrete", n_envs=1),
    "RecurrentPPO, three environments, uneven minibatches": case("RecurrentPPO", "box", n_envs=3, batch_size=20),
    "RecurrentPPO, gSDE": case("RecurrentPPO", "box", use_sde=True),
    "RecurrentPPO, squashed": case("RecurrentPPO", "box", use_sde=True, policy_kwargs={"squash_output": True}),
    "RecurrentPPO, shared LSTM": case(
        "RecurrentPPO", "discrete", policy_kwargs={"shared_lstm": True, "enable_critic_lstm": False}
    ),
    "RecurrentPPO, critic without LSTM": case("RecurrentPPO", "box", policy_kwargs={"enable_critic_lstm": False}),
    "RecurrentPPO, two layers": case("RecurrentPPO", "box", policy_kwargs={"n_lstm_layers": 2}),
    "MaskablePPO, masked": case("MaskablePPO", "masked"),
    "MaskablePPO, masked, one environment, uneven minibatches": case("MaskablePPO", "masked", n_envs=1, batch_size=12),
    "MaskablePPO, masks not used": case("MaskablePPO", "discrete", learn={"use_masking": False}),
    "MaskablePPO, multidiscrete": case("MaskablePPO", "multidiscrete", learn={"use_masking": False}),
    "MaskablePPO, early stop": case("MaskablePPO", "masked", target_kl=1e-4, learning_rate=1e-2),
}


@functools.cache
def trained_by_contrib(name):
    settings = CASES[name]
    env = vec_env(settings["action"], settings["n_envs"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(settings["algorithm"], env, sb3_contrib, **settings["kwargs"])
        return model.learn(STEPS, **settings["learn"])


def expert_of(action):
    def pairs(observations):
        return (observations[:, :2] > 0).astype(int)

    return pairs if action == "multidiscrete" else ALL_EXPERTS[action]


def labelled_env(action, n_envs):
    return DummyVecEnv([lambda: FeedbackWrapper(toy(action), teacher(expert_of(action)))] * n_envs)


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("labels", ["none", "wrapper", "expert"])
@pytest.mark.parametrize("name", CASES)
def test_training_equals_sb3_contrib_bit_for_bit(name, labels):
    settings = CASES[name]
    action, n_envs, kwargs = settings["action"], settings["n_envs"], {}
    env = labelled_env(action, n_envs) if labels == "wrapper" else vec_env(action, n_envs)
    if labels != "none":
        kwargs = {"alpha": 1.0}
    if labels == "expert":
        kwargs["expert"] = expert_of(action)
    model = make(settings["algorithm"], env, **kwargs, **settings["kwargs"])
    before = parameters_of(model.policy)
    model.learn(STEPS, **settings["learn"])
    theirs = trained_by_contrib(name)
    assert_same_model(model, theirs)
    assert (parameters_of(model.policy) - before).abs().max() > 1e-4, "training has to change something"
    n_labels = model.num_timesteps if labels == "wrapper" else 0
    assert model.num_expert_queries == n_labels, "what comes is counted, and nobody is asked"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_labels_below_alpha_one_do_change_training(algorithm):
    # Otherwise the test above would hold for a library that does nothing.
    name = {"TRPO": "TRPO, box", "RecurrentPPO": "RecurrentPPO, box", "MaskablePPO": "MaskablePPO, masked"}[algorithm]
    action = CASES[name]["action"]
    model = make(algorithm, vec_env(action), alpha=0.9, expert=ALL_EXPERTS[action]).learn(STEPS)
    assert largest_difference(model.policy, trained_by_contrib(name).policy) > 1e-4


@pytest.mark.parametrize("name", ["TRPO, sub-sampled", "RecurrentPPO, box", "MaskablePPO, masked"])
def test_a_rollout_without_a_label_trains_as_sb3_contrib_does_whatever_alpha_is(name):
    settings = CASES[name]
    env = vec_env(settings["action"], labels=lambda observation: False)
    model = make(settings["algorithm"], env, alpha=0.0, **settings["kwargs"])
    with pytest.warns(UserWarning, match="no feedback"):
        model.learn(STEPS)
    assert_same_model(model, trained_by_contrib(name))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equality_holds_on_normalised_environments(algorithm):
    action = "masked" if algorithm == "MaskablePPO" else "box"
    ours = make(algorithm, VecNormalize(vec_env(action)), alpha=1.0, expert=ALL_EXPERTS[action]).learn(64)
    assert_same_model(ours, make(algorithm, VecNormalize(vec_env(action)), sb3_contrib).learn(64))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_sb3_contrib_logs_is_logged_unchanged(algorithm):
    action = "masked" if algorithm == "MaskablePPO" else "box"
    logs = []
    for package, kwargs in (
        (nlf_sb3.algorithms, {"alpha": 1.0, "expert": ALL_EXPERTS[action]}),
        (sb3_contrib, {}),
    ):
        model = make(algorithm, vec_env(action), package, **kwargs)
        watch(model)
        model.learn(32)
        logs.append({key: value for key, value in model.logger.name_to_value.items() if key.startswith("train/")})
    assert logs[1]
    assert logs[1].items() <= logs[0].items()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_argument_of_sb3_contrib_is_taken_in_its_order_and_ours_are_keywords(algorithm):
    theirs = inspect.signature(getattr(sb3_contrib, algorithm)).parameters
    policy = "MlpLstmPolicy" if algorithm == "RecurrentPPO" else "MlpPolicy"
    names = [name for name in theirs if name not in ("policy", "env")][:5]
    assert names[:2] == ["learning_rate", "n_steps"]
    values = {"learning_rate": 1e-2, "n_steps": 8, "batch_size": 4, "n_epochs": 3, "gamma": 0.9, "cg_max_steps": 7}
    model = getattr(nlf_sb3.algorithms, algorithm)(policy, vec_env("discrete"), *(values[name] for name in names), seed=0)
    assert {name: getattr(model, name) for name in names} == {name: values[name] for name in names}
    ours = inspect.signature(getattr(nlf_sb3.algorithms, algorithm)).parameters
    added = set(ours) - set(theirs) - {"args", "kwargs"}
    assert added == OUR_ARGUMENTS
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in added)


# --- squashed actions that sb3-contrib doesn't rescale -------------------------------------------------


SQUASHED = {"use_sde": True, "policy_kwargs": {"squash_output": True}}


def wide_env(wrapper=lambda env: env):
    return DummyVecEnv([lambda: wrapper(ToyEnv(bound=2.0))] * 2)


def test_squashed_actions_in_wider_bounds_train_as_in_sb3_contrib_without_feedback():
    """And with scores alone, which have no scale of actions."""

    def scored(env):
        return FeedbackWrapper(env, lambda transition: Feedback(score=1.0))

    theirs = make("RecurrentPPO", wide_env(), sb3_contrib, **SQUASHED).learn(64)
    assert_same_model(make("RecurrentPPO", wide_env(), **SQUASHED).learn(64), theirs)
    assert_same_model(make("RecurrentPPO", wide_env(scored), **SQUASHED).learn(64), theirs)


@pytest.mark.parametrize("source", ["expert", "labels", "segments", "takeovers"])
def test_actions_of_experts_have_no_meaning_there_and_are_refused(source):
    kwargs = {"expert": box_expert} if source == "expert" else {}
    wrapper = {
        "expert": lambda env: env,
        "labels": lambda env: FeedbackWrapper(env, teacher(box_expert)),
        "segments": lambda env: TrajectoryInjection(env, box_expert, twin=lambda: ToyEnv(bound=2.0)),
        "takeovers": lambda env: TrajectoryInjection(env, box_expert, mode="takeover"),
    }[source]
    model = make("RecurrentPPO", wide_env(wrapper), on_error="skip", **SQUASHED, **kwargs)
    with pytest.raises(ValueError, match=r"squash_output=True with Box\(-2.0, 2.0.*RescaleAction"):
        model.learn(64)


# --- a last minibatch of one row ---------------------------------------------------------------------


ONE_ROW = {"n_steps": 17, "batch_size": 16}
GUARDED = {"RecurrentPPO": "box", "MaskablePPO": "masked"}


def is_finite(model):
    return bool(th.isfinite(parameters_of(model.policy)).all())


@pytest.mark.filterwarnings(UNEVEN, "ignore:std")
@pytest.mark.parametrize("algorithm", GUARDED)
def test_sb3_contrib_ends_in_nan_after_a_minibatch_of_one_row(algorithm):
    """The reason for the one exception to bit-for-bit equality. If this fails, sb3-contrib has a guard of its own."""
    model = make(algorithm, vec_env(GUARDED[algorithm], 1), sb3_contrib, n_epochs=1, **ONE_ROW).learn(17)
    assert not is_finite(model)


@pytest.mark.filterwarnings(UNEVEN, "error:std")
@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("algorithm", GUARDED)
def test_ours_stays_finite_and_learns(algorithm, alpha):
    action = GUARDED[algorithm]
    model = make(algorithm, vec_env(action, 1), alpha=alpha, expert=ALL_EXPERTS[action], **ONE_ROW)
    before = parameters_of(model.policy)
    model.learn(3 * 17)
    assert is_finite(model)
    assert (parameters_of(model.policy) - before).abs().max() > 1e-3


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("algorithm", GUARDED)
def test_the_single_row_joins_the_minibatch_before_it(algorithm):
    action = GUARDED[algorithm]
    ours = make(algorithm, vec_env(action, 1), **ONE_ROW).learn(51)
    in_one = make(algorithm, vec_env(action, 1), sb3_contrib, n_steps=17, batch_size=17).learn(51)
    assert_same_model(ours, in_one)


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("settings", [{**ONE_ROW, "normalize_advantage": False}, {"n_steps": 18, "batch_size": 16}], ids=str)
@pytest.mark.parametrize("algorithm", GUARDED)
def test_nothing_else_is_an_exception(algorithm, settings):
    action = GUARDED[algorithm]
    models = [
        make(algorithm, vec_env(action, 1), package, **settings).learn(51) for package in (nlf_sb3.algorithms, sb3_contrib)
    ]
    assert is_finite(models[1])
    assert_same_model(*models)


@pytest.mark.parametrize("settings", [{"n_steps": 1, "batch_size": 2}, {"n_steps": 8, "batch_size": 1}], ids=str)
@pytest.mark.parametrize("algorithm", GUARDED)
def test_where_no_minibatch_has_two_rows_normalisation_is_refused(algorithm, settings):
    env = vec_env(GUARDED[algorithm], 1)
    with pytest.raises(ValueError, match="normalize_advantage=False"):
        make(algorithm, env, **settings)
    model = make(algorithm, env, normalize_advantage=False, **settings).learn(8)
    assert is_finite(model)
