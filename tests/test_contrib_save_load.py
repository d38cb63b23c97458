"""TRPO, RecurrentPPO and MaskablePPO travel between nlf_sb3 and sb3-contrib, in both directions, and train on alike."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
import warnings
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import torch as th
from contrib_helpers import ALL_EXPERTS, make, vec_env
from helpers import WITHOUT_NLF_SB3, assert_same_model, cartpole_expert, largest_difference, parameters_of, teacher, watch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3.algorithms
from nlf_sb3 import Demonstrations, FeedbackError, FeedbackWrapper, Imitation, Injection, LinearSchedule, TrajectoryInjection

ENV_IDS = {"TRPO": "NLFToyNarrowBox-v0", "RecurrentPPO": "NLFToyNarrowBox-v0", "MaskablePPO": "NLFToyMasked-v0"}
ACTIONS = {"TRPO": "box", "RecurrentPPO": "box", "MaskablePPO": "masked"}
OBSERVATIONS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)

CONTRIB_ONLY = """
    import json, warnings

    import numpy as np
    import sb3_contrib
    import torch as th
    from stable_baselines3.common.env_util import make_vec_env

    th.set_num_threads(1)
    result = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for algorithm, path in json.loads(sys.argv[1]).items():
            env = make_vec_env("CartPole-v1", 2)
            model = getattr(sb3_contrib, algorithm).load(path, env=env, device="cpu")
            assert not type(model.rollout_buffer).__module__.startswith("nlf_sb3")
            actions, _ = model.predict(np.load(sys.argv[2]), deterministic=True)
            model.learn(64, **({"use_masking": False} if algorithm == "MaskablePPO" else {}))
            after = th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])
            result[algorithm] = {"actions": actions.tolist(), "after": after.tolist()}
    print(json.dumps({"result": result, "warnings": [str(w.message) for w in caught]}))
"""


def labelled_cartpole(n_envs=1):
    return DummyVecEnv([lambda: FeedbackWrapper(gym.make("CartPole-v1"), teacher(cartpole_expert))] * n_envs)


def unmasked(algorithm):
    return {"use_masking": False} if algorithm == "MaskablePPO" else {}


def test_our_models_load_and_train_on_in_sb3_contrib_where_nlf_sb3_is_not_installed(tmp_path):
    models, paths = {}, {}
    for algorithm in ACTIONS:
        kwargs = {"alpha": LinearSchedule(0.2, 0.9), "expert": cartpole_expert, "injection": "plain"}
        if algorithm != "RecurrentPPO":
            kwargs["demonstrations"] = Demonstrations(OBSERVATIONS, cartpole_expert(OBSERVATIONS))
        model = make(algorithm, labelled_cartpole(2), learning_rate=1e-2, **kwargs).learn(96, **unmasked(algorithm))
        paths[algorithm] = str(tmp_path / algorithm)
        model.save(paths[algorithm])
        models[algorithm] = model
    np.save(tmp_path / "observations.npy", OBSERVATIONS)
    arguments = [json.dumps(paths), str(tmp_path / "observations.npy")]
    code = [sys.executable, "-c", WITHOUT_NLF_SB3 + textwrap.dedent(CONTRIB_ONLY), *arguments]
    done = subprocess.run(code, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout.splitlines()[-1])
    assert [message for message in came["warnings"] if "deserial" in message or "nlf_sb3" in message] == []
    for algorithm, model in models.items():
        theirs = came["result"][algorithm]
        assert theirs["actions"] == model.predict(OBSERVATIONS, deterministic=True)[0].tolist()
        assert len(set(theirs["actions"])) == 2, "constant predictions would prove little"
        ours = type(model).load(paths[algorithm], env=make_vec_env("CartPole-v1", 2), device="cpu")
        ours.learn(64, **unmasked(algorithm))  # no feedback here: sb3-contrib's own training
        assert parameters_of(ours.policy).tolist() == theirs["after"]
        assert largest_difference(ours.policy, model.policy) > 1e-4


@pytest.mark.parametrize("algorithm", ACTIONS)
def test_nothing_in_the_file_needs_nlf_sb3(algorithm, tmp_path):
    env = DummyVecEnv([lambda: TrajectoryInjection(gym.make("CartPole-v1"), cartpole_expert)] * 2)
    make(algorithm, env, expert=cartpole_expert).learn(64, **unmasked(algorithm)).save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        data = json.loads(file.read("data"))
    state = data.pop("nlf_sb3")
    assert ":serialized:" not in state, "one entry of our own, readable as plain data"
    assert state["injection"]["weighting"] == "bounded"
    for name, value in data.items():
        pickled = base64.b64decode(value[":serialized:"]) if isinstance(value, dict) and ":serialized:" in value else b""
        assert b"nlf_sb3" not in pickled, name
    assert not {"expert", "demonstrations", "env", "rollout_buffer", "alpha"} & set(data)


@pytest.mark.parametrize("algorithm", ACTIONS)
def test_a_model_of_sb3_contrib_trains_on_in_ours_as_it_would_in_its_own_class(algorithm, tmp_path):
    action = ACTIONS[algorithm]
    make(algorithm, vec_env(action), sb3_contrib).learn(32).save(tmp_path / "model")
    models = []
    for package in (nlf_sb3.algorithms, sb3_contrib):
        model = getattr(package, algorithm).load(tmp_path / "model", env=vec_env(action), device="cpu")
        models.append(model.learn(64, reset_num_timesteps=False))
    assert models[0].num_timesteps == 96
    assert_same_model(*models)


@pytest.mark.parametrize("algorithm", ACTIONS)
def test_a_model_of_sb3_contrib_goes_on_with_feedback(algorithm, tmp_path):
    action = ACTIONS[algorithm]
    theirs = make(algorithm, vec_env(action), sb3_contrib).learn(32)
    theirs.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*env.action_masks")  # Gymnasium 0.29's, of sb3-contrib's own call
        model = getattr(nlf_sb3.algorithms, algorithm).load(
            tmp_path / "model", env=vec_env(action, label="sample"), device="cpu", alpha=0.2
        )
        assert_same_model(model, theirs)
        watch(model)
        model.learn(32, reset_num_timesteps=False)
    assert (model.alpha, model.imitation, model.injection) == (0.2, Imitation(), Injection())
    assert model.num_timesteps == 64
    assert "train/imitation_loss" in model.logger.name_to_value
    assert model.num_expert_queries == 32
    assert largest_difference(model.policy, theirs.policy) > 1e-4


SETTINGS = {
    "alpha": LinearSchedule(0.2, 0.9, end_fraction=0.5),
    "imitation": Imitation("nll", mode_trains_std=True),
    "injection": Injection("plain", coef=0.3),
    "on_error": "skip",
}
NOT_FOR_TRPO = {"injection": Injection("plain", coef=0.3, vf_coef=0.1), "log_gradients": True}


@pytest.mark.parametrize("algorithm", ACTIONS)
def test_our_settings_and_counters_come_back_and_training_goes_on_from_there(algorithm, tmp_path):
    env_id, expert = ENV_IDS[algorithm], ALL_EXPERTS[ACTIONS[algorithm]]

    def injected():
        return DummyVecEnv([lambda: TrajectoryInjection(gym.make(env_id), expert)] * 2)

    settings = SETTINGS if algorithm == "TRPO" else {**SETTINGS, **NOT_FOR_TRPO}
    model = make(algorithm, injected(), expert=expert, **settings).learn(64)
    assert min(model.num_expert_queries, model.num_expert_steps) > 0
    before = vars(model).keys()
    model.save(tmp_path / "model")
    assert vars(model).keys() == before, "saving leaves the model as it was"
    loaded = type(model).load(tmp_path / "model", device="cpu")
    for name in [*settings, "num_expert_queries", "num_expert_steps", "num_timesteps", "seed", "gamma", "learning_rate"]:
        assert getattr(loaded, name) == getattr(model, name), name
    assert_same_model(loaded, model)
    assert loaded.expert is None
    parts = []
    for _ in range(2):
        part = type(model).load(tmp_path / "model", env=injected(), expert=expert, device="cpu")
        parts.append(part.learn(64, reset_num_timesteps=False))
    assert_same_model(*parts)
    assert parts[0].num_expert_steps == parts[1].num_expert_steps > model.num_expert_steps
    assert parts[0].num_expert_queries == model.num_expert_queries + 64
    assert largest_difference(parts[0].policy, model.policy) > 1e-5


def test_refusals_hold_for_loaded_models(tmp_path):
    observations = np.zeros((3, 3), np.float32)
    demonstrations = Demonstrations(observations, np.zeros((3, 2), np.float32))
    for algorithm, kwargs, error in (
        ("RecurrentPPO", {"demonstrations": demonstrations}, FeedbackError),
        ("TRPO", {"imitation": "kl"}, ValueError),
        ("TRPO", {"injection": "separate"}, ValueError),
        ("TRPO", {"injection": Injection(vf_coef=0.5)}, ValueError),
    ):
        make(algorithm, vec_env("box")).save(tmp_path / algorithm)
        with pytest.raises(error, match=next(iter(kwargs))):
            getattr(nlf_sb3.algorithms, algorithm).load(tmp_path / algorithm, env=vec_env("box"), **kwargs)


@pytest.mark.parametrize("algorithm", ACTIONS)
def test_set_and_get_parameters_work_across_packages(algorithm, tmp_path):
    action = ACTIONS[algorithm]
    ours, theirs = make(algorithm, vec_env(action)).learn(32), make(algorithm, vec_env(action), sb3_contrib, seed=2)
    assert largest_difference(ours.policy, theirs.policy) > 1e-3
    theirs.set_parameters(ours.get_parameters())
    assert_same_model(ours, theirs)
    theirs.save(tmp_path / "model")
    other = make(algorithm, vec_env(action), seed=3)
    other.set_parameters(str(tmp_path / "model"))
    assert_same_model(ours, other)


@pytest.mark.parametrize("feedback", ["labels", "injection", "takeover"])
@pytest.mark.parametrize("algorithm", ACTIONS)
def test_learning_on_without_a_reset_is_one_long_training(algorithm, feedback):
    """A constant alpha, and rollouts that end where learn() does: nothing tells the two apart."""
    env_id, expert = ENV_IDS[algorithm], ALL_EXPERTS[ACTIONS[algorithm]]

    def one():
        env = gym.make(env_id)
        if feedback == "labels":
            return FeedbackWrapper(env, teacher(expert, labels=lambda observation: observation[0] > 0))
        return TrajectoryInjection(env, expert, 0.2, mode="fork" if feedback == "injection" else "takeover")

    models = []
    for parts in ([64], [24, 40]):
        model = make(algorithm, DummyVecEnv([one] * 2), n_steps=4, learning_rate=3e-4)
        for index, steps in enumerate(parts):
            model.learn(steps, reset_num_timesteps=index == 0)
        models.append(model)
    assert models[0].num_expert_steps + models[0].num_expert_queries > 0
    assert models[0].num_expert_steps == models[1].num_expert_steps
    assert_same_model(*models)
    assert all(th.isfinite(parameter).all() for parameter in models[0].policy.parameters())
