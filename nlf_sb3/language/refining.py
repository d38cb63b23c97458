"""The text channel without an expected response: the model rewrites its own answer, given what the user said of it."""

from __future__ import annotations

from typing import Any, Literal

from nlf_sb3.language.history import History
from nlf_sb3.language.responding import respond
from nlf_sb3.language.tokenizers import Tokenizer
from nlf_sb3.language.users import Reply, User


class RefiningUser:
    """
    Another user, whose text is shown to the model for a second attempt; the attempt takes the place of an expected response.

    With ``keep="satisfying"`` it does where the user is satisfied with it. Imitated (``expert_segments="imitate"``), that is
    refine and imitate (ILF; Scheurer et al., 2023, https://arxiv.org/abs/2303.16755). With ``keep="all"`` every attempt does,
    with the user's score of it as its reward. Injected, its advantage is that score less the mean of first attempts:
    self-distillation of the model that has read the feedback (RLTF, 2026, https://arxiv.org/abs/2602.02482).

    The model is the one that trains: call :meth:`attach` with it before ``learn``. Before that, the other user's reply
    passes as it is.

    :param user: Scores responses and says what was wrong
    :param keep: Which attempts to pass on
    :param prompt: Maps a history to what the tokenizer takes; None for the history itself, a conversation
    """

    def __init__(self, user: User, keep: Literal["satisfying", "all"] = "satisfying", prompt: Any = None) -> None:
        if keep not in ("satisfying", "all"):
            raise ValueError(f"keep: got {keep!r}, expected 'satisfying' or 'all'.")
        self.user = user
        self.keep = keep
        self.records = getattr(user, "records", None)
        self.n_attempts = 0
        self.n_kept = 0
        self._prompt = prompt or list
        self._policy: Any = None

    def attach(self, policy: Any, tokenizer: Tokenizer, max_new_tokens: int) -> None:
        """
        :param policy: The policy in training
        :param tokenizer: Of its environment
        :param max_new_tokens: The longest attempt
        """
        self._policy, self._tokenizer, self._max_new_tokens = policy, tokenizer, max_new_tokens

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the other user
        """
        if hasattr(self.user, "seed"):
            self.user.seed(seed)

    def answer(self, history: History, response: str) -> Reply:
        """
        :param history: The turns before the response
        :param response: What was answered
        :return: The other user's reply, with the second attempt as what is expected
        """
        reply = self.user.answer(history, response)
        if self._policy is None or reply.text is None or not response.strip():
            return reply
        asked_again = [
            *(dict(turn) for turn in history),
            {"role": "assistant", "content": response},
            {"role": "user", "content": reply.text},
        ]
        # One token less, for the end of the sequence.
        attempt = respond(self._policy, self._tokenizer, [self._prompt(asked_again)], self._max_new_tokens - 1, sample=True)[
            0
        ].strip()
        self.n_attempts += 1
        if not attempt or len(self._tokenizer.encode(attempt)) >= self._max_new_tokens:
            return reply
        score = self.user.answer(history, attempt).score or 0.0
        is_kept = self.keep == "all" or score > (reply.score or 0.0)
        self.n_kept += is_kept
        return reply._replace(expected_response=attempt, expected_reward=score) if is_kept else reply
