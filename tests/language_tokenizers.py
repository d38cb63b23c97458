"""Small tokenizers of every kind, made here, and chat templates as models have them."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

CORPUS = ["the cat sat on a mat. is a pear a fruit? yes, says the USDA. no, said the user. hello world 0123456789"] * 20
CONTROLS = ["<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|eot|>", "<|end|>"]
_TURNS = "{% for m in messages %}"
_ASKS = "{% endfor %}{% if add_generation_prompt %}"
CHATML = (
    _TURNS
    + "{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}"
    + _ASKS
    + "{{'<|im_start|>assistant\n'}}{% endif %}"
)
TEMPLATES = {
    "ChatML": (CHATML, "<|im_end|>"),
    "a default system turn": ("{{'<|im_start|>system\nBe kind.<|im_end|>\n'}}" + CHATML, "<|im_end|>"),
    "Llama 3, trims": (
        "{{bos_token}}"
        + _TURNS
        + "{{'<|im_start|>'+m['role']+'<|im_end|>\n\n'+m['content']|trim+'<|eot|>'}}"
        + _ASKS
        + "{{'<|im_start|>assistant<|im_end|>\n\n'}}{% endif %}",
        "<|eot|>",
    ),
    "Gemma, refuses system turns": (
        "{{bos_token}}{% if messages[0]['role']=='system' %}{{raise_exception('no system')}}{% endif %}"
        + _TURNS
        + "{{'<start_of_turn>'+m['role']+'\n'+m['content']|trim+'<end_of_turn>\n'}}"
        + _ASKS
        + "{{'<start_of_turn>model\n'}}{% endif %}",
        "<end_of_turn>",
    ),
    "Mistral": (
        "{{bos_token}}"
        + _TURNS
        + "{% if m['role']=='assistant' %}{{' '+m['content']+'</s>'}}{% else %}"
        + "{{'[INST] '+m['content']+' [/INST]'}}{% endif %}"
        + "{% endfor %}",
        "</s>",
    ),
    "Phi 3, ends with eos": (
        _TURNS
        + "{{m['role']+':\n'+m['content']+'<|end|>\n'}}"
        + _ASKS
        + "{{'assistant:\n'}}{% else %}{{eos_token}}{% endif %}",
        "<|end|>",
    ),
}
"""Templates by name, each with the token that ends the assistant's turns."""


def _with_controls(tokenizer: Any) -> Any:
    tokenizer.add_special_tokens({"additional_special_tokens": CONTROLS})
    tokenizer.add_tokens(["<tool_call>", "potassium"])  # neither is special; one is a word
    return tokenizer


def byte_level() -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    backend.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    return _with_controls(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>"))


def unigram(scheme: str = "first") -> Any:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    alphabet = sorted({chr(code) for code in range(33, 127)} | {"\n"})
    backend.train_from_iterator(
        CORPUS + alphabet,
        trainers.UnigramTrainer(
            vocab_size=190,
            unk_token="<unk>",
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return _with_controls(
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    )


def words(vocabulary: dict[str, int], **special: str) -> Any:
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{"eos_token": "</s>", "unk_token": "<unk>", **special})


class Characters(PreTrainedTokenizer):
    """A slow tokenizer: a character is a token."""

    vocab_files_names: dict[str, str] = {}  # noqa: RUF012 - as in transformers

    def __init__(self, **kwargs: Any) -> None:
        characters = ["<unk>", "<s>", "</s>", *map(chr, range(32, 127)), "\n"]
        self._by_text = {text: token for token, text in enumerate(characters)}
        super().__init__(**kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self._by_text)

    def get_vocab(self) -> dict[str, int]:
        return {**self._by_text, **self.added_tokens_encoder}

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self._by_text.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str | None:
        return next((text for text, token in self._by_text.items() if token == index), None)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)


def slow() -> Any:
    return _with_controls(Characters(unk_token="<unk>", bos_token="<s>", eos_token="</s>"))


def adds(tokenizer: Any, single: str) -> Any:
    """The tokenizer with a post-processor: what it puts around a text."""
    used = [(text, tokenizer.convert_tokens_to_ids(text)) for text in ("<s>", "</s>") if text in single]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=used)
    return tokenizer


KINDS = {"byte level": byte_level, "unigram": unigram, "unigram, always": lambda: unigram("always"), "slow": slow}
