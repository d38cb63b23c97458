"""Turn an environment that is answered with text into the MDP of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY
from nlf_sb3.infos import add_error
from nlf_sb3.language.contexts import EMPTY, TokenContexts
from nlf_sb3.language.conversation import HISTORY_KEY
from nlf_sb3.language.tokenizers import Prompt, as_tokenizer, ends_of
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.whole_numbers import check_whole_number
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, StepMarker

EXPECTED_RESPONSE_KEY = "expected_response"
EXPECTED_REWARD_KEY = "expected_reward"
RESPONSE_KEY = "response"
RESPONSE_TRUNCATED_KEY = "response_truncated"
LARGEST_MASK = 1024
"""The largest vocabulary of which action masks are offered."""


class TokenLevel(gym.Wrapper):
    """
    The MDP of tokens: a state is the prompt and the tokens so far, an action is the next token.

    At a token that ends responses, or after ``max_new_tokens``, the response is decoded and given to the environment, whose
    reward and info are those of the last token; earlier tokens have reward 0. Where the environment goes on after its turn,
    so does the episode, with the next observation's prompt. The last token's info also has the response
    (``"response"``), and whether it was cut (``"response_truncated"``).

    If that info holds ``"expected_response"``, a text, its tokens are put beside it as an :class:`~nlf_sb3.ExpertSegment` from
    the turn's own prompt (``"expert_segment"``); ``"expected_reward"`` says what it is worth, where that isn't
    ``expected_reward``. Expected responses that can't be one are bad feedback: the algorithm raises, or counts and skips them
    (``on_error``).

    :param env: Its actions are texts (:class:`gymnasium.spaces.Text`)
    :param tokenizer: One of Hugging Face's, or anything that :func:`~nlf_sb3.language.as_tokenizer` takes
    :param max_new_tokens: The longest response, its end-of-sequence token included
    :param context_length: Room for a prompt and a response
    :param prompt: Maps an observation to a text or a conversation; None if observations are texts; ``"history"`` takes the
        conversation in ``info["history"]``, as :class:`ConversationEnv` gives it, and no observation. A chat template is
        applied where the tokenizer has one.
    :param cut_prompt: Cut prompts that don't fit at their left, where an error would be raised
    :param forbidden_tokens: Tokens that no response may hold. Give them to the policy too
        (``policy_kwargs={"forbidden_tokens": ...}``), which then never samples them.
    :param expected_reward: Reward of an expected response, on its last token
    :raises TypeError: If the environment's actions aren't texts
    :raises ValueError: If a setting doesn't fit, or the tokenizer's end is none of its own tokens
    """

    action_masks: Callable[[], np.ndarray]
    """Which tokens are allowed, ``[n_tokens]`` booleans; vocabularies beyond :data:`LARGEST_MASK` have no such method."""

    def __init__(
        self,
        env: gym.Env,
        tokenizer: Any,
        *,
        max_new_tokens: int,
        context_length: int,
        prompt: Callable[[Any], Prompt] | Literal["history"] | None = None,
        cut_prompt: bool = False,
        forbidden_tokens: Sequence[int] = (),
        expected_reward: float = 1.0,
    ) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Text):
            raise TypeError(f"TokenLevel: got actions of {env.action_space}, expected gymnasium.spaces.Text: a response.")
        self.tokenizer = as_tokenizer(tokenizer)
        self._ends = ends_of(self.tokenizer)
        n_tokens = check_whole_number("tokenizer.n_tokens", self.tokenizer.n_tokens, max(self._ends) + 1)
        self.max_new_tokens = check_whole_number("max_new_tokens", max_new_tokens, 1)
        self.context_length = check_whole_number("context_length", context_length, max_new_tokens + 1)
        self.forbidden_tokens = tuple(check_whole_number("forbidden_tokens", token, 0) for token in forbidden_tokens)
        if self.tokenizer.eos in self.forbidden_tokens:
            raise ValueError("forbidden_tokens: got the end-of-sequence token among them, without which no response ends.")
        if isinstance(prompt, str) and prompt != "history":
            raise ValueError(f"prompt: got {prompt!r}, expected 'history', a function of the observation, or None.")
        self.expected_reward = float(expected_reward)
        self._prompt = prompt
        self._cut_prompt = cut_prompt
        self.action_space = spaces.Discrete(n_tokens)
        self.observation_space = spaces.Box(EMPTY, n_tokens - 1, (context_length,), np.int64)
        if n_tokens <= LARGEST_MASK:
            allowed = np.ones(n_tokens, dtype=bool)
            allowed[list(self.forbidden_tokens)] = False
            self.action_masks = allowed.copy
        self._marker = StepMarker(self, "tokens")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._begin_turn(observation, info)
        context = self._observe()
        self._marker.begin(context, None)
        return context, info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        *returned, info = self._add_token(int(action))
        mark = self._marker.step(action, tuple(returned), None, given=EXPERT_SEGMENT_KEY in info)
        info.pop(STEP_MARK_KEY, None)  # of a wrapper inside, whose steps are whole responses
        if EXPERT_SEGMENT_KEY in info:
            info[STEP_MARK_KEY] = mark
        return *returned, info

    def _add_token(self, token: int) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        self._tokens[self._length] = token
        self._length += 1
        is_over = token in self._ends
        if not is_over and self._length < self._n_prompt + self.max_new_tokens:
            return self._observe(), 0.0, False, False, {}
        tokens = self._tokens[self._n_prompt : self._length - is_over].tolist()
        response = self.tokenizer.decode(tokens)
        observation, reward, terminated, truncated, info = self.env.step(response)
        info = {**info, RESPONSE_KEY: response, RESPONSE_TRUNCATED_KEY: not is_over}
        if info.get(EXPECTED_RESPONSE_KEY) is not None:
            try:
                worth = info.get(EXPECTED_REWARD_KEY, self.expected_reward)
                prompt = self._tokens[: self._n_prompt].tolist()
                info[EXPERT_SEGMENT_KEY] = self._segment_of(prompt, info[EXPECTED_RESPONSE_KEY], worth)
            except FeedbackError as error:
                add_error(info, str(error))
        if not (terminated or truncated):
            self._begin_turn(observation, info)
        return self._observe(), reward, terminated, truncated, info

    def segment_of(self, prompt: Prompt, response: str) -> ExpertSegment:
        """
        What an expert answers, as its episode here: for :meth:`nlf_sb3.Demonstrations.from_segments`.

        :param prompt: A text or a conversation
        :param response: Its answer
        :return: The episode
        :raises FeedbackError: If the response is too long, or holds a forbidden token
        """
        return self._segment_of(self._prompt_tokens(prompt), response, self.expected_reward)

    def _begin_turn(self, observation: Any, info: dict[str, Any]) -> None:
        tokens = self._prompt_tokens(self._prompt_of(observation, info))
        self._tokens = np.full(self.context_length, EMPTY, dtype=np.int64)
        self._tokens[: len(tokens)] = tokens
        self._n_prompt = self._length = len(tokens)

    def _prompt_of(self, observation: Any, info: dict[str, Any]) -> Any:
        if self._prompt is None:
            return observation
        if callable(self._prompt):
            return self._prompt(observation)
        if HISTORY_KEY not in info:
            raise ValueError(
                f'prompt="history": got an info with {", ".join(map(str, info)) or "nothing"} in it, expected '
                f'"{HISTORY_KEY}", the turns so far. Use an environment that gives them, such as '
                "ConversationEnv, or pass a function."
            )
        return [dict(turn) for turn in info[HISTORY_KEY]]

    def _prompt_tokens(self, prompt: Any) -> list[int]:
        if not isinstance(prompt, (str, list)):
            raise TypeError(
                f"prompt: got {type(prompt).__name__}, expected a str or a list of messages. Pass prompt=, a function that "
                "makes one of an observation."
            )
        tokens = self.tokenizer.encode_prompt(prompt)
        room = self.context_length - self.max_new_tokens
        if not tokens:
            raise ValueError(
                f"prompt: {prompt!r} has no token, and a response has to begin after one. Begin it with some text."
            )
        if len(tokens) > room and not self._cut_prompt:
            raise ValueError(
                f"prompt: got {len(tokens)} tokens, expected at most {room} (context_length={self.context_length} less "
                f"max_new_tokens={self.max_new_tokens}). Raise context_length, or pass cut_prompt=True to lose its beginning."
            )
        if not 0 <= min(tokens) <= max(tokens) < self.tokenizer.n_tokens:
            raise ValueError(
                f"prompt: {prompt!r:.80} has tokens from {min(tokens)} to {max(tokens)}, expected all below the tokenizer's "
                f"n_tokens={self.tokenizer.n_tokens}. Give it the size of its whole vocabulary."
            )
        return tokens[-room:]

    def _observe(self) -> np.ndarray:
        tokens: np.ndarray = self._tokens.copy()
        return tokens

    def _segment_of(self, prompt: list[int], response: Any, reward: float) -> ExpertSegment:
        if not isinstance(response, str):
            raise FeedbackError(f"{EXPECTED_RESPONSE_KEY}: got {type(response).__name__}, expected a str.")
        actions = np.array([*self._encoded(response), self.tokenizer.eos], dtype=np.int64)
        n_steps = len(actions)
        if n_steps > self.max_new_tokens:
            raise FeedbackError(
                f"{EXPECTED_RESPONSE_KEY}: got {n_steps} tokens with the end of sequence, expected at most "
                f"max_new_tokens={self.max_new_tokens}. Raise it, or expect something shorter: {response[:80]!r}"
            )
        forbidden = sorted(set(actions.tolist()) & set(self.forbidden_tokens))
        if forbidden:
            raise FeedbackError(f"{EXPECTED_RESPONSE_KEY}: {response[:80]!r} holds forbidden_tokens {forbidden}.")
        rewards = np.zeros(n_steps)
        rewards[-1] = reward
        whole = np.array([*prompt, *actions], dtype=np.int64)
        last = np.full(self.context_length, EMPTY, dtype=np.int64)
        last[: len(whole)] = whole
        return ExpertSegment(
            observations=TokenContexts.of_sequence(whole, len(prompt) + np.arange(n_steps)),
            actions=actions,
            rewards=rewards,
            terminated=True,
            truncated=False,
            last_observation=last,
            fork_step=0,
        )

    def _encoded(self, response: str) -> list[int]:
        """Tokens of an expected response without its end, which a tokenizer may have put behind it."""
        tokens = list(self.tokenizer.encode(response))
        while tokens and tokens[-1] in self._ends:
            tokens.pop()
        n_tokens = self.tokenizer.n_tokens
        wrong = [token for token in tokens if token in self._ends or not 0 <= token < n_tokens]
        if wrong:
            raise FeedbackError(
                f"{EXPECTED_RESPONSE_KEY}: the tokenizer makes token {wrong[0]} of {response[:80]!r}, expected none that ends "
                f"a response ({self._ends}) and all below n_tokens={n_tokens}. Have it encode texts as words."
            )
        return tokens
