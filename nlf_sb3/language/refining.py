"""The text channel without an expected response: the model rewrites its own answer, given what the user said of it."""

from __future__ import annotations

from typing import Any, Literal

from nlf_sb3.language.history import History
from nlf_sb3.language.responding import respond
from nlf_sb3.language.tokenizers import Tokenizer
from nlf_sb3.language.users import Reply, User
from nlf_sb3.whole_numbers import check_whole_number


class RefiningUser:
    """
    Another user, whose text is shown to the model for a second attempt; the attempt takes the place of an expected response.

    With ``keep="satisfying"`` it does where the user is satisfied with it. Imitated (``Injection(segments="imitate")``), this
    is refine and imitate (ILF; Scheurer et al., 2023, https://arxiv.org/abs/2303.16755). With ``keep="all"`` every attempt
    does, with the user's score of it as its reward. Injected, its advantage is that score less the mean of first attempts:
    self-distillation of the model that has read the feedback (RLTF, 2026, https://arxiv.org/abs/2602.02482).

    The model is the one that trains: call :meth:`attach` with it before ``learn``. Before that, the other user's reply
    passes as it is.

    :param user: Scores responses and says what was wrong
    :param keep: Which attempts to pass on
    :param prompt: Maps a history to what the tokenizer takes; None for the history itself, a conversation
    :param max_attempts: Attempts after a response, made side by side. The user scores one after another, until one of them is
        better than the response; where none is, the first counts (``keep="all"``).
    :param asks: How the model is asked again: with the user's words as the next turn of the conversation, after the response,
        or with the words at the end of the user's last turn, without the response. To the first, small models answer with an
        apology, which is then imitated.
    :param temperature: Of the attempts; None for the policy's
    """

    def __init__(
        self,
        user: User,
        keep: Literal["satisfying", "all"] = "satisfying",
        prompt: Any = None,
        *,
        max_attempts: int = 1,
        asks: Literal["next_turn", "same_turn"] = "next_turn",
        temperature: float | None = None,
    ) -> None:
        if keep not in ("satisfying", "all"):
            raise ValueError(f"keep: got {keep!r}, expected 'satisfying' or 'all'.")
        if asks not in ("next_turn", "same_turn"):
            raise ValueError(f"asks: got {asks!r}, expected 'next_turn' or 'same_turn'.")
        if temperature is not None and not temperature > 0.0:
            raise ValueError(f"temperature: got {temperature!r}, expected a number above 0, or None for the policy's.")
        self.user = user
        self.keep = keep
        self.max_attempts = check_whole_number("max_attempts", max_attempts, 1)
        self.asks = asks
        self.temperature = temperature
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
        scored = self._scored_attempts(history, self._ask_again(history, response, reply.text), reply.score or 0.0)
        is_better = bool(scored) and scored[-1][1] > (reply.score or 0.0)
        if not scored or not (is_better or self.keep == "all"):
            return reply
        attempt, score = scored[-1] if is_better else scored[0]
        self.n_kept += 1
        return reply._replace(expected_response=attempt, expected_reward=score)

    def _ask_again(self, history: History, response: str, text: str) -> list[dict[str, str]]:
        turns = [dict(turn) for turn in history]
        if self.asks == "same_turn":
            return [*turns[:-1], {**turns[-1], "content": f"{turns[-1]['content']} {text}"}]
        return [*turns, {"role": "assistant", "content": response}, {"role": "user", "content": text}]

    def _scored_attempts(self, history: History, asked_again: list[dict[str, str]], to_beat: float) -> list[tuple[str, float]]:
        """Attempts and their scores, up to the first that is better than the response."""
        attempts = respond(
            self._policy,
            self._tokenizer,
            [self._prompt(asked_again)] * self.max_attempts,
            self._max_new_tokens - 1,  # one token less, for the end of the sequence
            sample=True,
            temperature=self.temperature,
        )
        scored: list[tuple[str, float]] = []
        self.n_attempts += len(attempts)
        for attempt in map(str.strip, attempts):
            if attempt and len(self._tokenizer.encode(attempt)) < self._max_new_tokens:
                scored.append((attempt, self.user.answer(history, attempt).score or 0.0))
                if scored[-1][1] > to_beat:
                    break
        return scored
