"""Which architectures of transformers a policy takes: those that say the same token by token as in one pass."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch as th

pytest.importorskip("transformers")

import transformers
from gymnasium import spaces
from language_helpers import padded, passes_of

from nlf_sb3.errors import FeedbackError
from nlf_sb3.language import CausalLMPolicy
from nlf_sb3.language.body_and_head import BodyAndHead
from nlf_sb3.language.model_checks import check_model

NO_ENDS = {"vocab_size": 258, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    **LAYERS,
    **NO_ENDS,
}
WIDE = {**LLAMA, "head_dim": 8}
WINDOW = {"sliding_window": 8}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **NO_ENDS}
DECODER = {
    "d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 64, "decoder_attention_heads": 4, "is_decoder": True,
    "is_encoder_decoder": False, "max_position_embeddings": 64, "vocab_size": 258,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
BLOCKS = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, **NO_ENDS}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}

WORKS = {
    "BioGpt": {"hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 64, "vocab_size": 258, **LAYERS},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, **NO_ENDS},
    "CTRL": {**GPT, "dff": 64},
    "CodeGen": {**GPT, "n_ctx": 64, "rotary_dim": 4},
    "DeepseekV3": {
        **LLAMA, **LATENT, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
        "num_experts_per_tok": 2, "first_k_dense_replace": 1, "moe_intermediate_size": 16,
    },
    "Falcon": {"hidden_size": 32, **LAYERS, **NO_ENDS},
    "Falcon with alibi": {"hidden_size": 32, "alibi": True, **LAYERS, **NO_ENDS},
    "GPT2": GPT,
    "GPTBigCode": GPT,
    "GPTJ": {**GPT, "rotary_dim": 4},
    "GPTNeo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 8,
        "max_position_embeddings": 64, **NO_ENDS,
    },
    "GPTNeoX": LLAMA,
    "Gemma": WIDE,
    "Gemma3Text": {**WIDE, **WINDOW},
    "GptOss": {**WIDE, **WINDOW, "num_local_experts": 4},
    "Llama": LLAMA,
    "Llama4Text": {
        **WIDE, "num_local_experts": 2, "attention_chunk_size": 8, "intermediate_size_mlp": 64, "no_rope_layers": [1, 1],
    },
    "Mistral": {**LLAMA, **WINDOW},
    "Mixtral": {**LLAMA, "num_local_experts": 4},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64, "vocab_size": 258},
    "OPT": {
        "hidden_size": 32, "ffn_dim": 64, "max_position_embeddings": 64, "word_embed_proj_dim": 32, **LAYERS, **NO_ENDS,
        "pad_token_id": 1,
    },
    "Olmo2": LLAMA,
    "Olmoe": {**LLAMA, **EXPERTS},
    "Phi": LLAMA,
    "Phi3": {**LLAMA, **WINDOW},
    "Qwen2": {**LLAMA, **WINDOW, "use_sliding_window": True, "max_window_layers": 0},
    "Qwen3": WIDE,
    "Qwen3Moe": {**WIDE, **EXPERTS, "moe_intermediate_size": 16},
    "SmolLM3": LLAMA,
    "StableLm": LLAMA,
    "Starcoder2": {**LLAMA, **WINDOW},
    "XGLM": {
        "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 64, "vocab_size": 258,
    },
}  # fmt: skip
CACHE = ""  # how a model fails at it depends on the release of transformers
LOGITS = "does more to its logits than its output layer"
REFUSED = {
    "Bart": (DECODER, CACHE),
    "Bert": ({"hidden_size": 32, "intermediate_size": 64, "vocab_size": 258, "is_decoder": True, **LAYERS}, LOGITS),
    "Cohere": (LLAMA, LOGITS),
    "Gemma2": (WIDE, LOGITS),
    "Jamba": (
        {**LLAMA, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False},
        CACHE,
    ),
    "MBart": (DECODER, CACHE),
    "Mamba": (BLOCKS, CACHE),
    "Mamba2": ({**BLOCKS, "num_heads": 8, "head_dim": 8, "n_groups": 1}, CACHE),
    "OpenAIGPT": ({**GPT, "vocab_size": 258}, CACHE),
    "RecurrentGemma": ({**WIDE, "attention_window_size": 8, "lru_width": 32}, LOGITS),
    "Rwkv": ({"hidden_size": 32, "num_hidden_layers": 2, **NO_ENDS}, CACHE),
    "TrOCR": ({key: value for key, value in DECODER.items() if not key.startswith("is_")}, CACHE),
    "XLNet": ({"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 258}, CACHE),
}


def save(folder, name, sizes, spread):
    th.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{name.split()[0]}Config")(**sizes))
    with th.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= spread
    model.save_pretrained(folder)
    return type(model).__name__


def policy_of(folder, context_length=32):
    observations = spaces.Box(-1, 257, (context_length,), np.int64)
    return CausalLMPolicy(observations, spaces.Discrete(258), lambda _: 1e-3, model=str(folder))


@pytest.mark.parametrize("name", WORKS)
def test_rollouts_of_these_have_the_probabilities_of_training(name, tmp_path):
    save(tmp_path, name, WORKS[name], spread=4.0)
    model = policy_of(tmp_path)
    passes = passes_of(model)
    rows = [[5, 6, 7], list(range(20, 32))]
    for step in range(14):
        if step == 10:
            rows[0] = [9, 8]
        observations = th.as_tensor(padded(*rows, length=32))
        actions, _, log_prob = model(observations)
        assert th.allclose(log_prob, model.evaluate_actions(observations, actions)[1], atol=1e-4), step
        rows = [[*row, int(action)] for row, action in zip(rows, actions, strict=True)]
    assert passes.count((2, 1)) == 13  # every pass but the first goes on from the cache


@pytest.mark.parametrize("spread", [1.0, 4.0])
@pytest.mark.parametrize("name", REFUSED)
def test_these_are_refused_by_name_and_class(name, spread, tmp_path):
    sizes, message = REFUSED[name]
    kind = save(tmp_path, name, sizes, spread)
    with pytest.raises(FeedbackError, match=rf"{re.escape(str(tmp_path))}' \({kind}\) .*{message}.* Use another model"):
        policy_of(tmp_path)


@pytest.mark.parametrize("context_length", [1, 2, 3, 11, 40, 60])
def test_contexts_of_any_length_are_checked(context_length, tmp_path):
    save(tmp_path, "Mistral", {**LLAMA, "sliding_window": 40}, spread=4.0)
    model = policy_of(tmp_path, context_length)
    assert model(th.ones((1, context_length), dtype=th.long))[0].shape == (1,)


def test_a_model_that_errs_beyond_its_window_alone_is_refused(tmp_path):
    class FarConfig(transformers.LlamaConfig):
        model_type = "far_llama"
        attention_window: int = 20

    class FarForCausalLM(transformers.LlamaForCausalLM):
        config_class = FarConfig

        def __init__(self, config):
            super().__init__(config)
            self.model.register_forward_hook(self.err, with_kwargs=True)

        def err(self, module, args, kwargs, output):
            caches = [cache for cache in kwargs.values() if hasattr(cache, "get_seq_length")]
            if caches and caches[0].get_seq_length() > self.config.attention_window:
                output.last_hidden_state = output.last_hidden_state + 1

    transformers.AutoConfig.register("far_llama", FarConfig)
    transformers.AutoModelForCausalLM.register(FarConfig, FarForCausalLM)
    FarForCausalLM(FarConfig(**LLAMA)).save_pretrained(tmp_path)
    assert policy_of(tmp_path, 20)(th.ones((1, 20), dtype=th.long))[0].shape == (1,)
    with pytest.raises(FeedbackError, match=r"\(FarForCausalLM\) would sample from a wrong distribution"):
        policy_of(tmp_path, 40)


def test_the_check_leaves_the_random_streams_and_the_model_alone(untouched_random_state):
    config = transformers.MixtralConfig(**WORKS["Mixtral"])
    with th.random.fork_rng():
        model = transformers.MixtralForCausalLM(config).train()
    check_model(model, BodyAndHead(model), "mixtral", 258, 32)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


def test_the_docs_name_what_was_tried():
    text = (Path(__file__).parents[1] / "docs" / "language.md").read_text()
    of_works, of_refused = (re.search(rf"^\| {word} \| (.*) \|$", text, re.M) for word in ("taken", "refused"))
    named = [set(re.findall(r"[A-Z][\w]+", of.group(1))) for of in (of_works, of_refused)]
    assert named == [{name.split()[0].removesuffix("Text") for name in WORKS}, set(REFUSED)]
