"""What is saved of a language model: the weights that train, and the names of the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch as th

from nlf_sb3 import Injection

pytest.importorskip("transformers")

from helpers import assert_same_model, twin_of
from language_helpers import ppo, reinforce, token_env, vec_env

from nlf_sb3 import PPO, REINFORCE
from nlf_sb3.language import TokenContexts

EXPECTED = {"expected_response": "ok"}
CONTEXTS = TokenContexts.of_sequence([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize("kwargs", [{}, {"lora": {"r": 2}}, {"reference": True, "temperature": 0.9, "top_k": 5}])
@pytest.mark.parametrize(("make", "algorithm"), [(reinforce, REINFORCE), (ppo, PPO)])
def test_a_saved_model_goes_on_as_it_would_have(make, algorithm, kwargs, tmp_path):
    model = make(vec_env(info=EXPECTED), kwargs, injection=Injection(segments="imitate")).learn(30)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=vec_env(info=EXPECTED))
    assert_same_model(model, loaded)
    assert loaded.injection.segments == "imitate"
    for name in ("get_distribution", "predict_values"):
        outputs = [getattr(one.policy, name)(CONTEXTS) for one in (model, loaded)]
        first, second = (getattr(output, "distribution", output) for output in outputs)
        assert th.equal(getattr(first, "logits", first), getattr(second, "logits", second))
    loaded.learn(30)


def test_only_what_trains_is_saved(tmp_path):
    model = reinforce(vec_env(), {"lora": {"r": 2}}).learn(20)
    model.save(tmp_path / "model.zip")
    state = model.policy.state_dict()
    assert all("lora" in name or "value_net" in name for name in state)
    n_trained = sum(parameter.numel() for parameter in model.policy.parameters() if parameter.requires_grad)
    n_all = sum(parameter.numel() for parameter in model.policy.parameters())
    assert sum(tensor.numel() for tensor in state.values()) == n_trained < n_all / 20
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert sizes["policy.pth"] < 4 * n_trained + 20_000
    assert sizes["policy.optimizer.pth"] < 8 * n_trained + 20_000
    assert sum(sizes.values()) < 4 * n_all


def test_the_policy_is_built_anew_from_what_is_saved_of_it():
    policy = reinforce(vec_env(), {"lora": {"r": 2}, "temperature": 0.5}).learn(20).policy
    first, second = (one.get_distribution(CONTEXTS).distribution.logits for one in (policy, twin_of(policy)))
    assert th.equal(first, second)


def test_weights_of_another_kind_are_refused():
    whole, adapter = reinforce(vec_env()).policy, reinforce(vec_env(), {"lora": {"r": 2}}).policy
    with pytest.raises(RuntimeError, match="weights missing"):
        whole.load_state_dict(adapter.state_dict())


def test_hugging_faces_own_files_are_written(tmp_path):
    import peft
    import transformers

    whole = reinforce(vec_env()).learn(20).policy
    whole.save_pretrained(tmp_path / "whole")
    tokens = th.tensor([[1, 2, 3]])
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert th.allclose(loaded(tokens).logits, whole.language_model(tokens).logits, atol=1e-6)

    on_it = {"model": str(tmp_path / "whole"), "lora": {"r": 2, "init_lora_weights": False}}
    adapter = reinforce(vec_env(), on_it).policy
    adapter.save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(loaded, tmp_path / "adapter")
    assert th.allclose(loaded(tokens).logits, adapter.language_model(tokens).logits, atol=1e-5)


def test_a_model_in_a_folder_is_found_again_by_its_name(tmp_path):
    reinforce(vec_env()).learn(20).policy.save_pretrained(tmp_path / "base")
    model = reinforce(vec_env(), {"model": str(tmp_path / "base"), "lora": {"r": 2}}).learn(20)
    model.save(tmp_path / "model")
    loaded = REINFORCE.load(tmp_path / "model")
    observation, _ = token_env().reset()
    assert np.array_equal(*(one.predict(observation, deterministic=True)[0] for one in (model, loaded)))
    assert_same_model(model, loaded)


def test_hugging_faces_libraries_are_imported_when_a_policy_is_made_and_a_missing_one_names_its_extra():
    script = """
import sys
from language_helpers import reinforce, vec_env
print([name for name in ("transformers", "peft", "tokenizers") if name in sys.modules])
sys.modules["transformers"] = None
try:
    reinforce(vec_env())
except ImportError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    imported, message = result.stdout.strip().splitlines()
    assert imported == "[]"
    assert message.endswith('Install it with: pip install "nlf-sb3[lm]"')
