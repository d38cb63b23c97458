"""Models travel between nlf_sb3 and Stable-Baselines3, in both directions, with nothing lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import warnings
import zipfile
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from helpers import (
    WITHOUT_NLF_SB3,
    ToyEnv,
    assert_same_model,
    box_expert,
    cartpole_expert,
    largest_difference,
    parameters_of,
    teacher,
    watch,
)
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import (
    REINFORCE,
    Demonstrations,
    FeedbackError,
    FeedbackWrapper,
    Imitation,
    Injection,
    LinearSchedule,
    TrajectoryInjection,
)

SMALL = {"A2C": {"n_steps": 8}, "PPO": {"n_steps": 32, "batch_size": 32, "n_epochs": 2}}
OBSERVATIONS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def make(algorithm, env="CartPole-v1", package=nlf_sb3, **kwargs):
    return getattr(package, algorithm)("MlpPolicy", env, **{"seed": 0, "device": "cpu", **SMALL[algorithm], **kwargs})


def cartpole(_=None):
    return gym.make("CartPole-v1")


SB3_ONLY = """
    import json, warnings

    import numpy as np
    import stable_baselines3

    result = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for algorithm, path in json.loads(sys.argv[1]).items():
            model = getattr(stable_baselines3, algorithm).load(path, device="cpu")
            actions, _ = model.predict(np.load(sys.argv[2]), deterministic=True)
            result[algorithm] = actions.tolist()
            buffer = model.rollout_buffer_class.__module__
            assert not buffer.startswith("nlf_sb3"), buffer
        model.set_env(stable_baselines3.common.env_util.make_vec_env("CartPole-v1"))
        model.learn(64)
    print(json.dumps({"actions": result, "warnings": [str(w.message) for w in caught]}))
"""


def test_our_models_load_in_sb3_where_nlf_sb3_is_not_installed(tmp_path):
    models, paths = {}, {}
    for algorithm in SMALL:
        env = VecNormalize(DummyVecEnv([lambda: FeedbackWrapper(cartpole(), teacher(cartpole_expert))]))
        model = make(
            algorithm,
            env,
            alpha=LinearSchedule(0.2, 0.9),
            expert=cartpole_expert,
            injection="separate",
            demonstrations=Demonstrations(OBSERVATIONS, cartpole_expert(OBSERVATIONS)),
        )
        model.learn(96)
        paths[algorithm] = str(tmp_path / algorithm)
        model.save(paths[algorithm])
        models[algorithm] = model
    np.save(tmp_path / "observations.npy", OBSERVATIONS)
    arguments = [json.dumps(paths), str(tmp_path / "observations.npy")]
    code = [sys.executable, "-c", WITHOUT_NLF_SB3 + textwrap.dedent(SB3_ONLY), *arguments]
    done = subprocess.run(code, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    for algorithm, model in models.items():
        assert result["actions"][algorithm] == model.predict(OBSERVATIONS, deterministic=True)[0].tolist()
        assert len(set(result["actions"][algorithm])) == 2, "constant predictions would prove little"
    assert [message for message in result["warnings"] if "deserial" in message or "nlf_sb3" in message] == []


@pytest.mark.parametrize("algorithm", SMALL)
def test_a_model_of_sb3_goes_on_with_feedback(algorithm, tmp_path):
    theirs = make(algorithm, package=stable_baselines3).learn(64)
    theirs.save(tmp_path / "model")
    env = FeedbackWrapper(cartpole(), teacher(cartpole_expert))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = getattr(nlf_sb3, algorithm).load(tmp_path / "model", env=env, device="cpu")
    assert_same_model(model, theirs)
    assert (model.alpha, model.imitation, model.injection) == (0.5, Imitation(), Injection()), "our defaults"
    watch(model)
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == 128
    assert model.logger.name_to_value["train/imitation_loss"] > 0
    assert model.num_expert_queries == 64
    assert largest_difference(model.policy, theirs.policy) > 1e-4


@pytest.mark.parametrize("algorithm", SMALL)
def test_a_model_of_sb3_goes_on_with_an_expert_given_to_load(algorithm, tmp_path):
    make(algorithm, package=stable_baselines3).save(tmp_path / "model")
    model = getattr(nlf_sb3, algorithm).load(tmp_path / "model", env=cartpole(), expert=cartpole_expert, alpha=0.2)
    watch(model)
    model.learn(64)
    assert model.logger.name_to_value["train/alpha"] == 0.2
    assert model.num_expert_queries == 64


SETTINGS = {
    "alpha": LinearSchedule(0.2, 0.9, end_fraction=0.5),
    "imitation": Imitation("nll", mode_trains_std=True),
    "injection": Injection("plain", coef=0.3, vf_coef=0.1),
    "on_error": "skip",
    "log_gradients": True,
}


@pytest.mark.parametrize("algorithm", [*SMALL, "REINFORCE"])
def test_our_settings_and_counters_come_back(algorithm, tmp_path):
    env = TrajectoryInjection(cartpole(), cartpole_expert)
    if algorithm == "REINFORCE":
        model = REINFORCE("MlpPolicy", env, expert=cartpole_expert, seed=0, device="cpu", **SETTINGS)
    else:
        model = make(algorithm, env, expert=cartpole_expert, **SETTINGS)
    model.learn(128)
    assert model.num_expert_queries > 0
    assert model.num_expert_steps > 0
    before = dict(vars(model))
    model.save(tmp_path / "model")
    assert "nlf_sb3" not in vars(model), "saving leaves the model as it was"
    assert vars(model).keys() == before.keys()
    loaded = type(model).load(tmp_path / "model", device="cpu")
    for name in [*SETTINGS, "num_expert_queries", "num_expert_steps", "num_timesteps", "seed", "gamma", "learning_rate"]:
        assert getattr(loaded, name) == getattr(model, name), name
    assert_same_model(loaded, model)
    assert loaded.expert is None
    assert loaded.demonstrations is None
    assert "nlf_sb3" not in vars(loaded)


def test_the_analytic_kl_comes_back(tmp_path):
    model = make("PPO", imitation="kl")
    model.save(tmp_path / "model")
    loaded = nlf_sb3.PPO.load(tmp_path / "model", env=cartpole())
    assert loaded.imitation == Imitation("kl")
    with pytest.raises(FeedbackError, match="expert="):
        loaded.learn(32)


def test_arguments_of_load_override_what_was_saved(tmp_path):
    make("PPO", alpha=LinearSchedule(0.1, 0.2), injection=Injection("plain", coef=0.3)).save(tmp_path / "model")
    loaded = nlf_sb3.PPO.load(tmp_path / "model", alpha=0.7, injection="separate", learning_rate=0.5)
    assert (loaded.alpha, loaded.injection) == (0.7, Injection("plain", separate_step=True))
    assert loaded.policy.optimizer.param_groups[0]["lr"] == 3e-4  # SB3's own behaviour: the optimiser's state is loaded
    assert loaded.learning_rate == 0.5


def test_bad_arguments_of_load_are_refused(tmp_path):
    make("PPO").save(tmp_path / "model")
    with pytest.raises(ValueError, match="injection"):
        nlf_sb3.PPO.load(tmp_path / "model", injection="none")


def test_a_field_of_what_was_saved_can_be_replaced(tmp_path):
    make("PPO", injection=Injection("plain", coef=0.3)).save(tmp_path / "model")
    saved = nlf_sb3.PPO.load(tmp_path / "model").injection
    loaded = nlf_sb3.PPO.load(tmp_path / "model", injection=replace(saved, vf_coef=0.5))
    assert loaded.injection == Injection("plain", coef=0.3, vf_coef=0.5)


def test_a_constant_alpha_comes_back_as_one_that_says_the_same(tmp_path):
    make("A2C", alpha=0.3).save(tmp_path / "model")
    loaded = nlf_sb3.A2C.load(tmp_path / "model", env=cartpole(), expert=cartpole_expert)
    watch(loaded)
    loaded.learn(8)
    assert loaded.logger.name_to_value["train/alpha"] == 0.3


def test_experts_demonstrations_and_environments_stay_out_of_the_file(tmp_path):
    class Marked:
        """Can't be pickled, and would be found by name."""

        def __call__(self, observations):
            return cartpole_expert(observations)

        def __reduce__(self):
            raise AssertionError("the expert was pickled")

    demonstrations = Demonstrations(np.full((50, 4), 0.125, np.float32), np.zeros(50, np.int64))
    env = TrajectoryInjection(cartpole(), Marked())
    model = make("PPO", env, expert=Marked(), demonstrations=demonstrations).learn(64)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        data = json.loads(file.read("data"))
    assert not {"expert", "demonstrations", "env", "rollout_buffer", *SETTINGS} & set(data)
    state = data["nlf_sb3"]
    assert state["injection"]["weighting"] == "bounded", "one entry of our own, readable as plain data"
    assert ":serialized:" not in state


@pytest.mark.parametrize("algorithm", SMALL)
def test_set_and_get_parameters_work_across_packages(algorithm, tmp_path):
    ours, theirs = make(algorithm).learn(32), make(algorithm, package=stable_baselines3, seed=1)
    assert largest_difference(ours.policy, theirs.policy) > 1e-3
    theirs.set_parameters(ours.get_parameters())
    assert_same_model(ours, theirs)
    ours.save(tmp_path / "model")
    other = make(algorithm, seed=2)
    other.set_parameters(str(tmp_path / "model"))
    assert_same_model(ours, other)


@pytest.mark.parametrize("algorithm", [*SMALL, "REINFORCE"])
def test_learning_goes_on_where_it_stopped(algorithm):
    def build():
        env = FeedbackWrapper(cartpole(), teacher(cartpole_expert))
        if algorithm == "REINFORCE":
            return REINFORCE("MlpPolicy", env, seed=0, device="cpu", n_episodes=2)
        return make(algorithm, env)

    model = build().learn(64)
    first, queries = model.num_timesteps, model.num_expert_queries
    before = parameters_of(model.policy)
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps >= first + 64
    assert model.num_expert_queries == queries + model.num_timesteps - first
    assert not th.equal(parameters_of(model.policy), before)


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_learning_on_without_a_reset_is_one_long_training(algorithm):
    """A constant alpha, and rollouts that end where learn() does: nothing tells the two apart."""
    models = []
    for parts in ([128], [64, 64]):
        env = FeedbackWrapper(cartpole(), teacher(cartpole_expert, labels=lambda observation: observation[0] > 0))
        model = make(algorithm, env, n_steps=32, expert=cartpole_expert)
        for i, steps in enumerate(parts):
            model.learn(steps, reset_num_timesteps=i == 0)
        models.append(model)
    assert_same_model(*models)


def test_injection_goes_on_over_the_border_of_two_learns():
    models = []
    for parts in ([60], [20, 40]):
        env = DummyVecEnv([lambda: TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), box_expert, 0.15)])
        model = make("A2C", env, n_steps=4)
        for i, steps in enumerate(parts):
            model.learn(steps, reset_num_timesteps=i == 0)
        models.append(model)
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0
    assert_same_model(*models)


def test_reinforce_round_trip_predicts_the_same_and_keeps_learning(tmp_path, numpy_actors):
    env = DummyVecEnv([ToyEnv] * 2)
    settings = {"n_episodes": 3, "batch_size": 2, "baseline": True, "time_limit": "bootstrap", "loss_reduction": "sum"}
    model = REINFORCE("MlpPolicy", env, seed=0, device="cpu", alpha=LinearSchedule(0.0, 1.0), expert=box_expert, **settings)
    model.learn(100)
    model.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = REINFORCE.load(tmp_path / "model", env=DummyVecEnv([ToyEnv] * 2), expert=box_expert)
    for name, value in settings.items():
        assert getattr(loaded, name) == value
    assert loaded.num_timesteps == model.num_timesteps
    observations = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    for deterministic in (True, False):
        predictions = []
        for either in (model, loaded):
            th.manual_seed(0)
            predictions.append(either.predict(observations, deterministic=deterministic)[0])
        assert np.array_equal(*predictions)
    before = parameters_of(loaded.policy)
    loaded.learn(50, reset_num_timesteps=False)
    assert loaded.num_timesteps >= model.num_timesteps + 50
    assert not th.equal(parameters_of(loaded.policy), before)
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    acted = numpy_actors[-1].act(observations, np.random.default_rng(0), deterministic=True)
    assert np.allclose(np.clip(acted, -1, 1), loaded.predict(observations, deterministic=True)[0], atol=1e-5), (
        "the NumPy sampler follows the loaded policy"
    )


def test_the_shipped_expert_of_an_earlier_version_loads():
    from importlib.resources import files

    model = nlf_sb3.REINFORCE.load(str(files("nlf_sb3") / "assets" / "inverted_pendulum_expert.zip"))
    assert (model.alpha, model.imitation.loss) == (nlf_sb3.ConstantSchedule(0.5), "nll")
