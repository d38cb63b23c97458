"""Gradient checkpointing: layers are computed again in the backward pass, and nothing else changes."""

from __future__ import annotations

import warnings

import pytest
import torch as th

pytest.importorskip("transformers")

from language_helpers import enliven, passes_of, policy, ppo, save_llama, vec_env

from nlf_sb3 import PPO
from nlf_sb3.errors import FeedbackError
from nlf_sb3.language import TokenContexts

CONTEXTS, ACTIONS = TokenContexts.of_sequence([1, 2, 3, 4], [2, 3, 4]), th.tensor([2, 3, 4])
N_LAYERS = 2


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # transformers renames the method
        yield


def switch_on(model, **kwargs):
    """As a user does it, on the language model itself."""
    causal_lm = getattr(model.language_model, "get_base_model", lambda: model.language_model)()
    causal_lm.gradient_checkpointing_enable(**kwargs)
    return model


def layers_of(model):
    return [module for module in model.language_model.modules() if type(module).__name__.endswith(("DecoderLayer", "Block"))]


def gradients(model):
    """Of the log-probability, and how often each layer was computed."""
    seen = []
    hooks = [layer.self_attn.register_forward_hook(lambda *_: seen.append(1)) for layer in layers_of(model)]
    model.set_training_mode(True)
    model.optimizer.zero_grad()
    _, log_prob, entropy = model.evaluate_actions(CONTEXTS, ACTIONS)
    (log_prob.sum() + entropy.sum()).backward()
    for hook in hooks:
        hook.remove()
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None], len(seen) / N_LAYERS


@pytest.mark.parametrize("lora", [None, {"r": 4}, {"r": 4, "lora_dropout": 0.5}], ids=["whole", "lora", "dropout"])
@pytest.mark.parametrize("how", ["argument", "user", "reentrant"])
def test_gradients_are_the_same_and_layers_are_computed_twice(lora, how, tmp_path):
    folder = save_llama(tmp_path)
    plain, times = gradients(enliven(policy(model=folder, lora=lora)))
    assert times == 1
    model = enliven(policy(model=folder, lora=lora, gradient_checkpointing=how == "argument"))
    if how != "argument":
        switch_on(model, gradient_checkpointing_kwargs={"use_reentrant": how == "reentrant"})
    saving, times = gradients(model)
    assert times == 2
    assert len(saving) == len(plain) > 2
    for one, other in zip(plain, saving, strict=True):
        assert th.allclose(one, other, atol=1e-6)
    assert not any(layer.training for layer in layers_of(model))


def test_dropout_is_the_same_in_both_passes(tmp_path):
    settings = {"model": save_llama(tmp_path), "lora": {"r": 4, "lora_dropout": 0.5}, "dropout": True}
    found = []
    for is_on in (False, True):
        model = enliven(policy(**settings, gradient_checkpointing=is_on))
        th.manual_seed(5)
        found.append(gradients(model)[0])
    assert all(th.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))


def test_layers_that_drop_out_by_themselves_do_not(tmp_path):
    import transformers

    config = transformers.OPTConfig(
        vocab_size=258, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
        word_embed_proj_dim=32, dropout=0.5, attention_dropout=0.5, layerdrop=0.5,
    )  # fmt: skip
    transformers.OPTForCausalLM(config).save_pretrained(tmp_path)
    plain, _ = gradients(policy(model=str(tmp_path)))
    saving, times = gradients(policy(model=str(tmp_path), gradient_checkpointing=True))
    assert times == 2
    assert all(th.allclose(one, other, atol=1e-6) for one, other in zip(plain, saving, strict=True))


def test_training_with_it_is_the_same_and_rollouts_keep_their_cache(tmp_path):
    states = []
    for kwargs in ({}, {"gradient_checkpointing": True}):
        model = ppo(vec_env(), {"lora": {"r": 2}, **kwargs}).learn(24)
        states.append(model.policy.state_dict())
        model.policy.set_training_mode(False)
        passes = passes_of(model.policy)
        model.policy(th.tensor([[1, 2, -1, -1]]))
        model.policy(th.tensor([[1, 2, 3, -1]]))
        assert passes == [(1, 2), (1, 1)]
    assert all(th.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0])
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model")
    assert gradients(loaded.policy)[1] == 2


def test_nothing_is_checkpointed_without_gradients_or_unasked():
    model = switch_on(policy(gradient_checkpointing=False))
    seen = []
    layers_of(model)[0].self_attn.register_forward_hook(lambda *_: seen.append(1))
    with th.no_grad():
        model.evaluate_actions(CONTEXTS, ACTIONS)
    assert len(seen) == 1
    model.language_model.gradient_checkpointing_disable()
    assert gradients(model)[1] == 1


def test_where_layers_cannot_the_user_is_told():
    model = policy()
    model.language_model.model.gradient_checkpointing = True  # as of a model whose layers know nothing of it
    with pytest.warns(UserWarning, match="switched on and does nothing: the layers of LlamaModel"):
        gradients(model)


def test_a_model_that_has_none_is_refused_by_name(tmp_path):
    import transformers

    sizes = {
        "vocab_size": 258,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    transformers.CTRLLMHeadModel(transformers.CTRLConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(FeedbackError, match=r"gradient_checkpointing: .* \(CTRLLMHeadModel\) has none"):
        policy(model=str(tmp_path), gradient_checkpointing=True)
