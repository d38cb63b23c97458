"""Tokenizers of Hugging Face's transformers, with their chat templates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nlf_sb3.errors import require
from nlf_sb3.language.chat_templates import ChatTemplate
from nlf_sb3.language.control_tokens import WordsEncoder
from nlf_sb3.language.tokenizers import Prompt, Tokenizer, check_prompt
from nlf_sb3.whole_numbers import check_whole_number

_IN_NO_VOCABULARY = "\N{OLD PERSIAN WORD DIVIDER}"


class HuggingFaceTokenizer:
    """
    A tokenizer of Hugging Face's transformers, with the chat template that it has when it comes here.

    What people say never becomes a control token: ``<|im_end|>`` typed into a message is encoded as the words that it is. A
    response ends with the token that the chat template ends the assistant's turns with (:attr:`eos`), or by any other of
    :attr:`ends`.

    :param tokenizer: A ``PreTrainedTokenizerBase``
    :param n_tokens: Size of the vocabulary; None for as much as holds all of its tokens. A model's may be larger.
    :param ends: Further tokens that end a response. The tokenizer's end-of-sequence token and the template's are known.
    :raises ValueError: If no token ends a response, or one is none of ``n_tokens``
    """

    def __init__(self, tokenizer: Any, n_tokens: int | None = None, *, ends: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._words = WordsEncoder(tokenizer)
        self._chat = None if tokenizer.chat_template is None else ChatTemplate(tokenizer, self._words)
        further = [check_whole_number("ends", token, 0) for token in ends]
        own = [self._chat.turn_end if self._chat else None, tokenizer.eos_token_id, *further]
        known = [int(token) for token in own if token is not None]
        if not known:
            raise ValueError("The tokenizer has no end-of-sequence token. Set tokenizer.eos_token.")
        self.ends = tuple(dict.fromkeys(known))
        self.eos = self.ends[0]
        self._ids = frozenset(int(token) for token in tokenizer.get_vocab().values())
        needed = max(self._ids) + 1
        self.n_tokens = needed if n_tokens is None else check_whole_number("n_tokens", n_tokens, needed)
        self._check_ends()

    @classmethod
    def load(cls, name: str, gguf_file: str | None = None) -> HuggingFaceTokenizer:
        """
        :param name: Folder, or name on the hub
        :param gguf_file: Name of the GGUF file in it that holds the tokenizer
        :return: The tokenizer. The ends in the model's ``generation_config.json`` end a response, too.
        """
        transformers = require("transformers", "lm", "A Hugging Face tokenizer")
        options = {} if gguf_file is None else {"gguf_file": gguf_file}
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        try:
            ends = transformers.GenerationConfig.from_pretrained(name).eos_token_id
        except (OSError, ValueError):  # a folder without one
            ends = None
        ends = ends if isinstance(ends, (list, tuple)) else [ends]
        own = set(tokenizer.get_vocab().values())
        return cls(tokenizer, ends=[token for token in ends if token in own])

    def encode(self, text: str) -> list[int]:
        """
        :param text: A text, or a part of one
        :return: Its tokens, without special ones
        """
        return self._words.encode(text)

    def decode(self, tokens: list[int]) -> str:
        """
        :param tokens: Any
        :return: Their text, without special tokens
        """
        known = [int(token) for token in tokens if int(token) in self._ids]
        return str(self.tokenizer.decode(known, skip_special_tokens=True))

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """
        :param prompt: A text, or a conversation
        :return: It in the tokenizer's chat template, up to where the assistant answers; without a template the text's tokens,
            after those that the tokenizer begins a text with
        :raises TypeError: If it is neither, or a turn's content is no text
        :raises ValueError: For roles and texts that are none
        """
        check_prompt(prompt)
        if self._chat is not None:
            return self._chat.encode([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
        text = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
        words = self.encode(text)
        before, after = self._around(text)
        while after and after[-1] in self.ends:
            after.pop()
        return [*before, *words, *after]

    def _around(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens that the tokenizer puts before and after a text."""
        if not self.tokenizer("")["input_ids"]:
            return [], []
        for probe in ("a", text):  # a probe that isn't in the vocabulary may be nothing, or an error
            try:
                plain, whole = self._words.raw(probe), [int(token) for token in self.tokenizer(probe)["input_ids"]]
            except Exception:
                continue
            for start in range(len(whole) - len(plain) + 1):
                if plain and whole[start : start + len(plain)] == plain:
                    return whole[:start], whole[start + len(plain) :]
        return [], []

    def _check_ends(self) -> None:
        if not self._ids.issuperset(self.ends):
            raise ValueError(
                f"ends: got {self.ends}, expected tokens of the tokenizer's vocabulary, all below {self.n_tokens}."
            )
        unknown = self.tokenizer.unk_token_id
        if unknown in self.ends and (
            self.tokenizer.eos_token != self.tokenizer.unk_token or unknown in self._words.raw(_IN_NO_VOCABULARY)
        ):
            raise ValueError(
                f"tokenizer.eos_token: got {self.tokenizer.eos_token!r}, expected a token that stands for no words. Here it "
                f"is {self.tokenizer.unk_token!r}, so that every unknown word would end a response. Add it to the vocabulary."
            )


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
