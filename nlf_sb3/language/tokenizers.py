"""What turns text into tokens: a protocol, bytes for tests, and Hugging Face's."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from nlf_sb3.errors import require

Prompt = str | list[dict[str, str]]
"""A text, or a conversation as ``[{"role": ..., "content": ...}]``."""


@runtime_checkable
class Tokenizer(Protocol):
    """What the token-level environment asks of a tokenizer."""

    eos: int
    """The token that ends a response."""
    n_tokens: int
    """Size of the vocabulary."""

    def encode(self, text: str) -> list[int]:
        """
        :param text: A text, or a part of one
        :return: Its tokens, and no others
        """

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: Their text, without special tokens
        """

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: What is to be answered
        :return: The tokens after which the response begins, at least one
        """


class ByteTokenizer:
    """
    Every byte is a token; two more begin and end a text.

    It needs nothing and knows every text: for tests and models trained from scratch.
    """

    bos = 256
    eos = 257
    n_tokens = 258

    def encode(self, text: str) -> list[int]:
        """
        :param text: Any text
        :return: Its bytes in UTF-8
        """
        return list(text.encode())

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: The bytes among them as UTF-8, with a replacement character where they are none
        """
        return bytes(token for token in tokens if token < self.bos).decode(errors="replace")

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: A text, or a conversation, whose messages are put in lines
        :return: A beginning, and its bytes
        """
        if not isinstance(prompt, str):
            prompt = "".join(f"{message['role']}: {message['content']}\n" for message in prompt)
        return [self.bos, *self.encode(prompt)]


class HuggingFaceTokenizer:
    """
    A tokenizer of Hugging Face's transformers.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    :param n_tokens: Size of the vocabulary; None for as many as it has. A model's may be larger.
    """

    def __init__(self, tokenizer: Any, n_tokens: int | None = None) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("The tokenizer has no end-of-sequence token. Set tokenizer.eos_token.")
        self.tokenizer = tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.n_tokens = len(tokenizer) if n_tokens is None else n_tokens

    @classmethod
    def load(cls, name: str, gguf_file: str | None = None) -> HuggingFaceTokenizer:
        """
        :param name: Folder, or name on the hub
        :param gguf_file: Name of the GGUF file in it that holds the tokenizer
        :return: The tokenizer
        """
        transformers = require("transformers", "lm", "A Hugging Face tokenizer")
        options = {} if gguf_file is None else {"gguf_file": gguf_file}
        return cls(transformers.AutoTokenizer.from_pretrained(name, **options))

    def encode(self, text: str) -> list[int]:
        """
        :param text: A text, or a part of one
        :return: Its tokens, without special ones
        """
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: Their text, without special tokens
        """
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: A text, or a conversation
        :return: It in the tokenizer's chat template, up to where the assistant answers; without a template the text's tokens
        """
        if self.tokenizer.chat_template is not None:
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            return self.encode(text)
        text = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
        return [int(token) for token in self.tokenizer(text)["input_ids"]]


def as_tokenizer(tokenizer: Any) -> Tokenizer:
    """
    :param tokenizer: A :class:`Tokenizer`, or one of Hugging Face's
    :return: A :class:`Tokenizer`
    :raises TypeError: For anything else
    """
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if hasattr(tokenizer, "eos_token_id"):
        return HuggingFaceTokenizer(tokenizer)
    raise TypeError(
        f"tokenizer: got {type(tokenizer).__name__}, expected one of Hugging Face's or an object with eos, n_tokens, encode, "
        "decode and encode_prompt, such as nlf_sb3.language.ByteTokenizer()."
    )
