"""Adapters: saved ones go on from where they were, settings are understood or refused by name, the reference stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch as th

pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
from helpers import twin_of
from language_helpers import BYTES, enliven, policy, ppo, reinforce, save_llama, token_env, vec_env

from nlf_sb3 import PPO
from nlf_sb3.errors import FeedbackError
from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.experiments.tune.learner import make_learner
from nlf_sb3.language import TokenContexts, respond, toy_records

CONTEXTS, ACTIONS = TokenContexts.of_sequence([1, 2, 3], [1, 2, 3]), th.tensor([2, 3, 4])


def log_prob(model):
    return model.evaluate_actions(CONTEXTS, ACTIONS)[1].detach()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("base"), spread=3.0)


def save_adapter(folder, base, **settings):
    """An adapter of peft's that does something, in a folder; and what the policy that saved it says."""
    model = enliven(policy(model=base, lora={"r": 4, **settings}))
    model.save_pretrained(folder)
    return str(folder), log_prob(model)


# --- saved adapters -----------------------------------------------------------------------------------

KINDS = [
    {},
    {"bias": "all"},
    {"bias": "lora_only"},
    {"modules_to_save": ["lm_head"]},
    {"use_dora": True},
    {"target_modules": "all-linear"},
    {"target_modules": ["lm_head", "v_proj"]},
]


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_training_goes_on_from_a_saved_adapter(settings, base, tmp_path):
    folder, before = save_adapter(tmp_path / "first", base, **settings)
    model = policy(model=folder)
    assert th.allclose(log_prob(model), before, atol=1e-5)
    assert th.allclose(model.reference_kl(CONTEXTS), th.zeros(3), atol=1e-5)
    assert any("lora_A" in name for name in model.state_dict())
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    log_prob_now = model.evaluate_actions(CONTEXTS, ACTIONS)[1]
    (-log_prob_now.sum()).backward()
    model.optimizer.step()
    assert log_prob(model).sum() > before.sum()
    moved = {name for name, weight in model.named_parameters() if not th.equal(weight, weights[name])}
    assert moved == {name for name in model.state_dict() if "value_net" not in name and "digest" not in name}
    assert th.allclose(model.reference_log_prob(CONTEXTS, ACTIONS), before, atol=1e-5)
    model.save_pretrained(tmp_path / "second")
    assert th.allclose(log_prob(policy(model=str(tmp_path / "second"))), log_prob(model), atol=1e-5)


def test_peft_reads_what_was_trained_on_from_a_saved_adapter(base, tmp_path):
    import transformers

    folder, _ = save_adapter(tmp_path / "first", base)
    model = enliven(policy(model=Path(folder)), seed=9)
    model.save_pretrained(tmp_path / "second")
    tokens = th.tensor([[1, 2, 3]])
    of_base = transformers.AutoModelForCausalLM.from_pretrained(base)
    theirs = peft.PeftModel.from_pretrained(of_base, tmp_path / "second")(tokens).logits
    assert th.allclose(theirs, model.language_model(tokens).logits, atol=1e-5)


@pytest.mark.parametrize("kind", ["IA3Config", "LoHaConfig"])
def test_other_adapters_of_peft_go_on_too(kind, base, tmp_path):
    import transformers

    config = getattr(peft, kind)(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj", "down_proj"])
    if kind == "IA3Config":
        config.feedforward_modules = {"down_proj"}
    adapted = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), config)
    adapted.save_pretrained(tmp_path)
    model = policy(model=str(tmp_path))
    reference = model.reference_log_prob(CONTEXTS, ACTIONS)
    enliven(model)
    assert not th.allclose(log_prob(model), reference, atol=1e-3)
    assert th.allclose(model.reference_log_prob(CONTEXTS, ACTIONS), reference, atol=1e-5)
    with pytest.raises(FeedbackError, match="not of LoRA"):
        policy(model=str(tmp_path), lora={"r": 4})


def test_a_second_stage_of_training_is_saved_loaded_and_answers(base, tmp_path):
    first = ppo(vec_env(info={"expected_response": "ok"}), {"model": base, "lora": {"r": 2}}, learning_rate=0.02)
    first.learn(24)
    first.policy.save_pretrained(tmp_path / "adapter")
    second = ppo(vec_env(), {"model": str(tmp_path / "adapter")}, learning_rate=0.02)
    assert th.allclose(log_prob(second.policy), log_prob(first.policy), atol=1e-5)
    second.learn(24)
    assert not th.allclose(log_prob(second.policy), log_prob(first.policy), atol=1e-3)
    second.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=vec_env())
    for one in (loaded.policy, twin_of(second.policy)):
        assert th.equal(log_prob(one), log_prob(second.policy))
        assert th.allclose(one.reference_log_prob(CONTEXTS, ACTIONS), log_prob(first.policy), atol=1e-5)
    assert respond(loaded.policy, BYTES, ["q?"], 5) == respond(second.policy, BYTES, ["q?"], 5)


def test_a_model_whose_adapter_s_folder_was_overwritten_is_refused(base, tmp_path):
    folder, before = save_adapter(tmp_path / "adapter", base)
    shutil.copytree(folder, tmp_path / "copy")
    model = ppo(vec_env(info={"expected_response": "ok"}), {"model": folder}, learning_rate=0.02).learn(24)
    model.save(tmp_path / "model")
    state = model.policy.state_dict()
    model.policy.save_pretrained(folder)
    for load in (lambda: PPO.load(tmp_path / "model"), lambda: policy(model=folder).load_state_dict(state)):
        with pytest.raises(FeedbackError, match=r"isn't the one that this training began from.* folders of their own"):
            load()
    assert th.allclose(log_prob(policy(model=folder)), log_prob(model.policy), atol=1e-5)  # a new training may begin from it
    moved = {"policy_kwargs": {"model": str(tmp_path / "copy")}}
    loaded = PPO.load(tmp_path / "model", custom_objects=moved).policy
    assert th.equal(log_prob(loaded), log_prob(model.policy))
    assert th.allclose(loaded.reference_log_prob(CONTEXTS, ACTIONS), before, atol=1e-5)


def test_settings_of_a_saved_adapter_are_what_it_has_or_refused(base, tmp_path):
    folder, before = save_adapter(tmp_path, base, target_modules=["q_proj", "v_proj"], lora_alpha=16)
    for same in ({"r": 4}, {"r": 4, "target_modules": ["v_proj", "q_proj"]}, peft.LoraConfig.from_pretrained(folder)):
        assert th.allclose(log_prob(policy(model=folder, lora=same)), before, atol=1e-5)
    with pytest.raises(FeedbackError, match=r"saved adapter whose r is 4, and not 8; whose lora_alpha is 16, and not 2"):
        policy(model=folder, lora={"r": 8, "lora_alpha": 2})
    with pytest.raises(FeedbackError, match=r"target_modules is \['q_proj', 'v_proj'\], and not \['k_proj'\]"):
        policy(model=folder, lora=peft.LoraConfig(r=4, lora_alpha=16, target_modules=["k_proj"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_modules": ["k_proj"]}, "doesn't fit the model .* missing adapter keys"),
        ({"task_type": "SEQ_CLS"}, "is an adapter for the task SEQ_CLS, expected one for CAUSAL_LM"),
        ({"alora_invocation_tokens": [1, 2]}, "whose effect depends on the prompt"),
        ({"lora_alpha": 0}, "with lora_alpha 0, which does nothing"),
        (None, "has an adapter_config.json and no adapter_model.safetensors"),
    ],
)
def test_a_saved_adapter_that_is_not_what_its_file_says_is_refused(change, message, base, tmp_path):
    folder, _ = save_adapter(tmp_path, base)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **(change or {})}))
    if change is None:
        (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(FeedbackError, match=message) as raised:
        policy(model=folder)
    assert folder in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [*KINDS, {"target_modules": "all-linear", "exclude_modules": ["v_proj"]}, {"fan_in_fan_out": True}, {"r": 2}],
    ids=str,
)
def test_the_settings_that_made_an_adapter_are_those_that_it_has(settings, base, tmp_path):
    folder, before = save_adapter(tmp_path, base, **settings)
    again = {"r": 4, **settings}
    for same in (again, peft.LoraConfig(**again)):
        assert th.allclose(log_prob(policy(model=folder, lora=same)), before, atol=1e-5)
    with pytest.raises(FeedbackError, match="whose r is"):
        policy(model=folder, lora={**again, "r": 3})


def write_base(folder, name):
    file = Path(folder) / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": name}))


def test_the_model_of_a_saved_adapter_is_found_or_named(base, tmp_path, monkeypatch):
    folder, before = save_adapter(tmp_path / "adapter", base)
    shutil.copytree(base, tmp_path / "beside")
    monkeypatch.chdir(tmp_path)
    for found in ("beside", "./beside", "../beside", str(tmp_path / "beside")):
        write_base(folder, found)
        assert th.allclose(log_prob(policy(model=folder)), before, atol=1e-5)
    monkeypatch.chdir("/")
    write_base(folder, "beside")  # from another place too, since it lies beside the adapter
    assert th.allclose(log_prob(policy(model=folder)), before, atol=1e-5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for gone in ("/no/where", "./nowhere", "no-such-owner/no-such-model"):
        write_base(folder, gone)
        with pytest.raises(FeedbackError, match=gone):
            policy(model=folder)
    for nothing in (None, ""):
        write_base(folder, nothing)
        with pytest.raises(FeedbackError, match="doesn't say which model it was trained on"):
            policy(model=folder)
    write_base(folder, folder)
    with pytest.raises(FeedbackError, match="is an adapter itself"):
        policy(model=folder)


def test_adapters_that_cannot_go_on_are_refused_by_name(base, tmp_path):
    import transformers

    folder, _ = save_adapter(tmp_path / "several" / "one", base)
    with pytest.raises(FeedbackError, match=r"holds adapters in its folders. Pass one of them: .*several/one"):
        policy(model=str(tmp_path / "several"))
    other = save_llama(tmp_path / "other", vocab_size=300)
    config = transformers.LlamaConfig.from_pretrained(other)
    config.hidden_size = 16
    transformers.LlamaForCausalLM(config).save_pretrained(other)
    write_base(folder, other)
    with pytest.raises(FeedbackError, match=r"the adapter .*one' doesn't fit the model that it names, .*other'"):
        policy(model=folder)
    prompts = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), prompts).save_pretrained(tmp_path / "prompts")
    with pytest.raises(FeedbackError, match="of kind PROMPT_TUNING, which puts tokens before the text"):
        policy(model=str(tmp_path / "prompts"))


def test_tune_goes_on_from_an_adapter_with_the_tokenizer_of_its_model(base, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({chr(token): token for token in range(32, 127)}, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="~")
    beside = Path(shutil.copytree(base, tmp_path / "model"))
    tokenizer.save_pretrained(beside)
    folder, _ = save_adapter(tmp_path / "adapter", str(beside), lora_alpha=4)
    for where in ("the model's", "its own"):
        learner = make_learner(
            Tune(model=folder, records="toy", context_length=64, max_new_tokens=8), "joint", 1, toy_records(4)
        )
        trained = learner.model.policy.state_dict()
        saved = policy(model=folder).state_dict()
        assert all(th.equal(trained[name], weight) for name, weight in saved.items()), where
        assert learner.tokenizer.encode("ab") == [97, 98]
        tokenizer.save_pretrained(folder)
        (beside / "tokenizer.json").unlink(missing_ok=True)


# --- new adapters -------------------------------------------------------------------------------------


def test_a_lora_config_is_taken_as_its_arguments_are(base, tmp_path):
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], bias="lora_only", task_type=peft.TaskType.CAUSAL_LM)
    model = reinforce(vec_env(), {"model": base, "lora": config}).learn(20)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert th.equal(log_prob(loaded.policy), log_prob(model.policy))
    as_dict = policy(model=base, lora={"r": 4, "target_modules": ["q_proj"], "bias": "lora_only"})
    assert set(as_dict.state_dict()) == set(model.policy.state_dict())
    assert config.target_modules == {"q_proj"}
    observation, _ = token_env().reset()
    assert np.array_equal(*(one.predict(observation, deterministic=True)[0] for one in (model, loaded)))


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (True, "lora: got True, expected a dict of arguments of peft's LoraConfig"),
        (8, "lora: got 8, expected a dict"),
        ("r=8", "lora: got 'r=8', expected a dict"),
        (peft.IA3Config(), "lora: got IA3Config"),
        ({"rank": 4}, "'rank' is no setting of peft's LoraConfig. Did you mean r?"),
        ({"r": 4, "target_module": ["q_proj"]}, "'target_module' is no setting .* Did you mean .*target_modules"),
        ({"r": 4, "target_modules": ["c_attn"]}, "doesn't fit 'tiny' .LlamaForCausalLM.: .* linear layers are .*q_proj"),
        ({"r": 0}, "doesn't fit 'tiny'"),
        ({"r": 4, "lora_alpha": 0}, "lora: got lora_alpha 0, expected another number"),
        ({"r": 4, "task_type": "SEQ_CLS"}, "lora: got task_type 'SEQ_CLS', expected 'CAUSAL_LM'"),
        ({"r": 4, "alora_invocation_tokens": [1]}, "alora_invocation_tokens is not supported"),
    ],
)
def test_other_settings_are_refused_by_name(lora, message):
    with pytest.raises(FeedbackError, match=message):
        policy(lora=lora)


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora"])
def test_settings_that_rewrite_the_model_itself_are_refused(init, base):
    with pytest.raises(FeedbackError, match=f"'init_lora_weights': '{init}'.* itself.* Leave init_lora_weights out"):
        policy(model=base, lora={"r": 4, "init_lora_weights": init})


def test_settings_that_repeat_layers_are_refused_by_their_own_name(base):
    with pytest.raises(FeedbackError, match=r"changes .* itself, .* Leave layer_replication out, which repeats") as raised:
        policy(model=base, lora={"r": 4, "layer_replication": [[0, 1], [0, 2]]})
    assert "init_lora_weights" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [*KINDS, {"init_lora_weights": "gaussian"}, {"trainable_token_indices": [2, 3]}, {"modules_to_save": ["norm"]}],
    ids=str,
)
def test_the_reference_of_a_new_adapter_is_the_model_as_loaded(settings, base):
    before = log_prob(policy(model=base))
    model = policy(model=base, lora={"r": 4, **settings})
    assert th.allclose(model.reference_kl(CONTEXTS), th.zeros(3), atol=1e-5)
    enliven(model)
    assert th.allclose(model.reference_log_prob(CONTEXTS, ACTIONS), before, atol=1e-5)
    moved = log_prob(model)
    assert not th.allclose(moved, before, atol=1e-2)
    assert th.equal(log_prob(model), moved)
    (model.reference_kl(CONTEXTS).sum()).backward()
    trained = [weight for name, weight in model.named_parameters() if weight.requires_grad and "value_net" not in name]
    assert all(weight.grad is not None for weight in trained)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_that_train_beside_an_adapter_are_the_reference_s_as_loaded_and_saved_with_it(bias, tmp_path):
    import transformers

    config = transformers.GPT2Config(vocab_size=258, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    before = log_prob(policy(model=str(tmp_path / "base")))
    model = enliven(policy(model=str(tmp_path / "base"), lora={"r": 4, "bias": bias}))
    assert any(name.endswith(".bias") for name in model.state_dict() if "value_net" not in name)
    assert th.allclose(model.reference_log_prob(CONTEXTS, ACTIONS), before, atol=1e-5)
    model.save_pretrained(tmp_path / "adapter")
    on = policy(model=str(tmp_path / "adapter"))
    assert {name for name in on.state_dict() if "digest" not in name} == set(model.state_dict())
    saved = log_prob(model)
    assert th.allclose(log_prob(on), saved, atol=1e-5)
    enliven(on, seed=4)
    assert th.allclose(on.reference_log_prob(CONTEXTS, ACTIONS), saved, atol=1e-5)
    assert not th.allclose(log_prob(on), saved, atol=1e-2)


# --- models that are none -----------------------------------------------------------------------------


def test_a_model_in_memory_is_refused_with_how_to_pass_it(base):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with pytest.raises(FeedbackError, match=r"model: got an object of LlamaForCausalLM.* Call its save_pretrained\(folder\)"):
        policy(model=model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM"))
    for thing, kind in ((adapted, "PeftModelForCausalLM"), (model.config, "LlamaConfig"), (None, "NoneType")):
        with pytest.raises(FeedbackError, match=f"model: got an object of {kind}"):
            policy(model=thing)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "", "no-such-owner/no-such-model", "a file", "an empty folder"])
def test_what_holds_no_model_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("x")
    Path("an empty folder").mkdir()
    with pytest.raises(FeedbackError, match=f"model: '{name}' is .* from which no causal language model could be loaded"):
        policy(model=name)


LLAMA = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 258}


@pytest.mark.parametrize("kind", ["LlamaModel", "LlamaForSequenceClassification"])
def test_a_model_whose_head_would_begin_at_random_is_refused(kind, tmp_path):
    import transformers

    getattr(transformers, kind)(transformers.LlamaConfig(**LLAMA, max_position_embeddings=24)).save_pretrained(tmp_path)
    with pytest.raises(FeedbackError, match=r"has no weights for lm_head.weight of a LlamaForCausalLM"):
        policy(model=str(tmp_path))
    tied = transformers.LlamaConfig(**LLAMA, max_position_embeddings=24, tie_word_embeddings=True)
    getattr(transformers, kind)(tied).save_pretrained(tmp_path)
    tokens = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).get_output_embeddings().weight
    assert th.equal(policy(model=str(tmp_path)).language_model.lm_head.weight, tokens)


def test_models_of_other_kinds_and_broken_files_are_named_in_a_short_message(base, tmp_path):
    import transformers

    sizes = {"vocab_size": 258, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    for name, change in (("wider", {"hidden_size": 64}), ("broken", {})):
        shutil.copytree(base, tmp_path / name)
        file = tmp_path / name / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"half of a file")
    for name in ("t5", "wider", "broken"):
        with pytest.raises(FeedbackError, match=rf"{name}' is a folder from which no causal language model") as raised:
            policy(model=str(tmp_path / name))
        assert len(str(raised.value)) < 1000
        assert ("T5" in str(raised.value)) == (name == "t5")


def test_a_model_of_which_nothing_trains_is_refused(tmp_path):
    import transformers

    class FrozenConfig(transformers.LlamaConfig):
        model_type = "frozen_llama"

    class FrozenForCausalLM(transformers.LlamaForCausalLM):
        config_class = FrozenConfig

        def tie_weights(self, *args, **kwargs):
            super().tie_weights(*args, **kwargs)
            self.requires_grad_(False)

    transformers.AutoConfig.register("frozen_llama", FrozenConfig)
    transformers.AutoModelForCausalLM.register(FrozenConfig, FrozenForCausalLM)
    FrozenForCausalLM(FrozenConfig(max_position_embeddings=24, **LLAMA)).save_pretrained(tmp_path)
    with pytest.raises(FeedbackError, match=r"nothing of .* \(FrozenForCausalLM\) would train"):
        policy(model=str(tmp_path))
    assert any(
        "lora" in name for name in policy(model=str(tmp_path), lora={"r": 2, "target_modules": ["q_proj"]}).state_dict()
    )
