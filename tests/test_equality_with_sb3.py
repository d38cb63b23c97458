"""Without labels, and with labels at alpha = 1, training is Stable-Baselines3's, bit for bit."""

from __future__ import annotations

import functools
import inspect

import pytest
import stable_baselines3
from helpers import (
    OUR_ARGUMENTS,
    PENDULUM,
    assert_same_model,
    cartpole_expert,
    largest_difference,
    pendulum_expert,
    teacher,
    watch,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import nlf_sb3
from nlf_sb3 import FeedbackWrapper

STEPS = 4096
FEW_STEPS = 1024
EXPERTS = {"CartPole-v1": cartpole_expert, PENDULUM: pendulum_expert}
N_ENVS = 4
SETTINGS = {"A2C": {"n_steps": 8}, "PPO": {"n_steps": 128, "n_epochs": 3}}


def common(algorithm):
    return {"seed": 3, "device": "cpu", **SETTINGS[algorithm]}


@functools.cache
def trained_by_sb3(algorithm, env_id, steps=STEPS):
    env = make_vec_env(env_id, N_ENVS)
    return getattr(stable_baselines3, algorithm)("MlpPolicy", env, **common(algorithm)).learn(steps)


@pytest.mark.parametrize("env_id", EXPERTS)
@pytest.mark.parametrize("algorithm", SETTINGS)
@pytest.mark.parametrize("labels", ["none", "wrapper", "expert"])
def test_training_equals_sb3_bit_for_bit(algorithm, env_id, labels):
    expert, wrapper, kwargs = EXPERTS[env_id], None, {}
    if labels == "wrapper":
        wrapper, kwargs = functools.partial(FeedbackWrapper, teachers=teacher(expert)), {"alpha": 1.0}
    if labels == "expert":
        kwargs = {"alpha": 1.0, "expert": expert}
    env = make_vec_env(env_id, N_ENVS, wrapper_class=wrapper)
    model = getattr(nlf_sb3, algorithm)("MlpPolicy", env, **kwargs, **common(algorithm))
    model.learn(STEPS)
    assert_same_model(model, trained_by_sb3(algorithm, env_id))
    assert model.num_expert_queries == (STEPS if labels == "wrapper" else 0), "what comes is counted, and nobody is asked"


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_labels_below_alpha_one_do_change_training(algorithm):
    # Otherwise the test above would hold for a library that does nothing.
    model = getattr(nlf_sb3, algorithm)(
        "MlpPolicy", make_vec_env("CartPole-v1", N_ENVS), alpha=0.99, expert=cartpole_expert, **common(algorithm)
    ).learn(FEW_STEPS)
    assert largest_difference(model.policy, trained_by_sb3(algorithm, "CartPole-v1", FEW_STEPS).policy) > 1e-4


@pytest.mark.parametrize(("algorithm", "steps"), [("A2C", 500), ("PPO", 2048)])
def test_changing_the_import_is_the_whole_migration(algorithm, steps):
    def user_code(package):
        return getattr(package, algorithm)("MlpPolicy", "CartPole-v1", seed=0).learn(steps)

    assert_same_model(user_code(nlf_sb3), user_code(stable_baselines3))


def test_positional_arguments_mean_what_they_mean_in_sb3():
    models = [
        package.PPO("MlpPolicy", "CartPole-v1", 1e-3, 64, 32, 2, 0.9, 0.8, seed=0, device="cpu").learn(128)
        for package in (nlf_sb3, stable_baselines3)
    ]
    assert_same_model(*models)
    assert (models[0].learning_rate, models[0].n_steps, models[0].batch_size, models[0].n_epochs) == (1e-3, 64, 32, 2)
    assert (models[0].gamma, models[0].gae_lambda) == (0.9, 0.8)
    models = [
        package.A2C("MlpPolicy", "CartPole-v1", 1e-3, 8, 0.9, 0.8, 0.01, seed=0, device="cpu").learn(64)
        for package in (nlf_sb3, stable_baselines3)
    ]
    assert_same_model(*models)
    assert (models[0].n_steps, models[0].gamma, models[0].gae_lambda, models[0].ent_coef) == (8, 0.9, 0.8, 0.01)


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_every_argument_of_sb3_is_taken_and_ours_are_keywords_only(algorithm):
    theirs = inspect.signature(getattr(stable_baselines3, algorithm)).parameters
    ours = inspect.signature(getattr(nlf_sb3, algorithm)).parameters
    added = set(ours) - set(theirs) - {"args", "kwargs"}
    assert added == OUR_ARGUMENTS
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in added)


@pytest.mark.parametrize("algorithm", SETTINGS)
@pytest.mark.parametrize("labels", ["wrapper", "expert"])
def test_equality_holds_on_several_normalised_environments_with_sde(algorithm, labels):
    def train(package, **kwargs):
        feedback = kwargs.pop("feedback", None)
        env = make_vec_env(PENDULUM, n_envs=2, wrapper_class=feedback, seed=1)
        settings = {**common(algorithm), "n_steps": 64}
        model = getattr(package, algorithm)("MlpPolicy", VecNormalize(env), use_sde=True, **kwargs, **settings)
        return model.learn(512)

    kwargs = {"expert": pendulum_expert} if labels == "expert" else {"feedback": with_pendulum_labels}
    model = train(nlf_sb3, alpha=1.0, **kwargs)
    assert_same_model(model, train(stable_baselines3))
    assert model.num_expert_queries == (512 if labels == "wrapper" else 0)


def with_pendulum_labels(env):
    return FeedbackWrapper(env, teacher(pendulum_expert))


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_rollout_without_a_label_trains_as_sb3_does_whatever_alpha_is(algorithm):
    silent = functools.partial(FeedbackWrapper, teachers=teacher(cartpole_expert, labels=lambda observation: False))
    env = make_vec_env("CartPole-v1", N_ENVS, wrapper_class=silent)
    with pytest.warns(UserWarning, match="no feedback"):
        model = getattr(nlf_sb3, algorithm)("MlpPolicy", env, alpha=0.0, **common(algorithm)).learn(FEW_STEPS)
    assert_same_model(model, trained_by_sb3(algorithm, "CartPole-v1", FEW_STEPS))


def test_what_sb3_logs_is_logged_unchanged():
    logs = []
    for package, kwargs in ((nlf_sb3, {"alpha": 1.0, "expert": cartpole_expert}), (stable_baselines3, {})):
        model = package.PPO("MlpPolicy", "CartPole-v1", n_steps=128, seed=0, device="cpu", **kwargs)
        records = watch(model)
        model.learn(256)
        logs.append({key: value for key, value in model.logger.name_to_value.items() if key.startswith("train/")})
        assert len(records.dumps) == 2
    assert logs[1].items() <= logs[0].items()
