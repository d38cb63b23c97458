"""The objects for ``imitation`` and ``injection``: their strings, their checks, and the model's copies of them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers import OUR_ARGUMENTS, WITHOUT_NLF_SB3, ToyEnv, assert_same_model, box_expert

from nlf_sb3 import A2C, PPO, REINFORCE, Imitation, Injection, LabelReplay, TrainingPhases, TrajectoryInjection
from nlf_sb3.config import as_imitation, as_injection
from nlf_sb3.label_weights import EntropyWeight, TrustGate

PHASES = TrainingPhases(n_steps=24, batch_size=12, begin=0.5, otherwise=TrainingPhases(n_steps=16))


def ppo(**arguments):
    return PPO("MlpPolicy", ToyEnv("box"), n_steps=16, batch_size=8, seed=0, device="cpu", **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Imitation("mse"), "Imitation.loss: got 'mse', expected one of 'nll', 'kl'"),
        (lambda: Imitation(replay=100), r"Imitation.replay: got 100, expected None or .*such as LabelReplay\("),
        (lambda: Imitation(mode_trains_std="no"), "Imitation.mode_trains_std: got 'no', expected True or False"),
        (
            lambda: Imitation("kl", replay=LabelReplay(5)),
            r"Imitation.replay: got LabelReplay\(.* Use loss='nll', or replay=None",
        ),
        (lambda: LabelReplay(0), "LabelReplay.capacity: got 0, expected a whole number of at least 1"),
        (lambda: LabelReplay(0.5), "LabelReplay.capacity: got 0.5, expected a whole number"),
        (lambda: LabelReplay(5, per_step=-1.0), "LabelReplay.per_step: got -1.0, expected a finite number of at least 0"),
        (lambda: Injection("separate"), "Injection.weighting: got 'separate', expected one of 'bounded', 'plain'"),
        (lambda: Injection(np.ones(2)), "Injection.weighting: got array.*expected one of 'bounded', 'plain'"),
        (lambda: Injection(coef=-1.0), "Injection.coef: got -1.0, expected a finite number of at least 0"),
        (lambda: Injection(coef=np.nan), "Injection.coef: got nan, expected a finite number of at least 0"),
        (lambda: Injection(coef=True), "Injection.coef: got True, expected a finite number of at least 0"),
        (lambda: Injection(vf_coef=np.inf), "Injection.vf_coef: got inf, expected a finite number of at least 0"),
        (lambda: Injection(vf_coef="0.5"), "Injection.vf_coef: got '0.5', expected a finite number of at least 0"),
        (lambda: Injection(row_weight="retrace"), "Injection.row_weight: got 'retrace', expected one of 'auto', 'none'"),
        (lambda: Injection(max_row_weight=0.0), "Injection.max_row_weight: got 0.0, expected a finite number above 0"),
        (lambda: Injection(count_prefix="once"), "Injection.count_prefix: got 'once', expected True or False"),
        (lambda: Injection(separate_step=1), "Injection.separate_step: got 1, expected True or False"),
        (lambda: Injection(segments="both"), "Injection.segments: got 'both', expected one of 'inject', 'imitate'"),
    ],
)
def test_each_object_checks_its_own_fields(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_strings_stand_for_objects():
    assert as_imitation("kl") == Imitation("kl")
    assert as_injection("bounded") == Injection() == Injection("bounded", separate_step=False)
    assert as_injection("plain") == Injection("plain")
    assert as_injection("separate") == Injection("plain", separate_step=True)
    model = ppo(imitation="nll", injection="separate")
    assert (model.imitation, model.injection) == (Imitation(), Injection("plain", separate_step=True))


@pytest.mark.parametrize("name", ["bounded", "plain", "separate"])
def test_a_string_and_its_object_train_the_same(name):
    models = []
    for injection in (name, as_injection(name)):
        env = TrajectoryInjection(ToyEnv("box"), box_expert, 0.3, twin=lambda: ToyEnv("box"))
        models.append(A2C("MlpPolicy", env, n_steps=16, seed=0, device="cpu", injection=injection).learn(64))
    assert models[0].num_expert_steps > 0
    assert_same_model(*models)


def test_a_string_that_is_set_later_is_an_object_once_the_model_learns():
    model = ppo(expert=box_expert)
    model.injection = "plain"
    model.learn(16)
    assert model.injection == Injection("plain")


def test_eleven_arguments_are_added():
    parameters = inspect.signature(REINFORCE).parameters
    assert len(OUR_ARGUMENTS) == 11
    assert set(parameters) >= OUR_ARGUMENTS
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in OUR_ARGUMENTS)


@pytest.mark.parametrize("name", ["injection_coef", "label_memory", "imitation_weights", "expert_segments", "mode_trains_std"])
def test_fields_are_no_arguments_of_the_algorithm(name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        ppo(**{name: 1})


def test_two_models_share_no_state_of_a_rule():
    given = Imitation(weights=[TrustGate()])
    models = [ppo(expert=box_expert, imitation=given).learn(32) for _ in range(2)]
    assert given.weights[0].variance == 0.0
    assert models[0].imitation.weights[0].variance == models[1].imitation.weights[0].variance > 0


def test_all_fields_are_saved_as_plain_data(tmp_path):
    imitation = Imitation(
        weights=[TrustGate(threshold=1.5), EntropyWeight()], replay=LabelReplay(9, 0.5), mode_trains_std=True
    )
    injection = Injection("plain", np.float32(0.5), 0.25, "importance", 2, False, True, "imitate")
    model = ppo(expert=box_expert, imitation=imitation, injection=injection, phases=PHASES).learn(32)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        data = json.loads(file.read("data"))
    assert ":serialized:" not in data["nlf_sb3"], "JSON holds all of it"
    assert not {"imitation", "injection", "phases"} & set(data)
    loaded = PPO.load(tmp_path / "model", device="cpu")
    for name in ("imitation", "injection", "phases"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.imitation.weights[0].variance > 0
    assert replace(loaded.injection, coef=0.5) == injection


def test_a_model_with_objects_loads_where_nlf_sb3_is_not_installed(tmp_path):
    injection, imitation = Injection("plain", vf_coef=0.5), Imitation(weights=[TrustGate()], replay=LabelReplay(9))
    ppo(injection=injection, imitation=imitation, phases=PHASES).save(tmp_path / "model")
    code = """
        import stable_baselines3
        model = stable_baselines3.PPO.load(sys.argv[1], device="cpu")
        print(model.predict(model.observation_space.sample())[0].shape)
    """
    command = [sys.executable, "-W", "error", "-c", WITHOUT_NLF_SB3 + textwrap.dedent(code), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (0, "(2,)\n"), done.stderr
