"""Turn an environment that is answered with text into the MDP of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY
from nlf_sb3.infos import add_error
from nlf_sb3.language.contexts import EMPTY
from nlf_sb3.language.conversation import EXPECTED_RESPONSE_KEY
from nlf_sb3.language.expert_responses import ExpertResponses
from nlf_sb3.language.hugging_face_tokenizers import as_tokenizer
from nlf_sb3.language.prompts import Prompts, PromptSource
from nlf_sb3.language.tokenizers import Prompt, ends_of
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.whole_numbers import check_whole_number
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, StepMarker

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
        prompt: PromptSource = None,
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
        if max(self.forbidden_tokens, default=0) >= n_tokens:
            raise ValueError(f"forbidden_tokens: got {max(self.forbidden_tokens)}, expected tokens below {n_tokens}.")
        if self.tokenizer.eos in self.forbidden_tokens:
            raise ValueError("forbidden_tokens: got the end-of-sequence token among them, without which no response ends.")
        self.expected_reward = float(expected_reward)
        self._prompts = Prompts(
            self.tokenizer, prompt, max_new_tokens=max_new_tokens, context_length=context_length, cut=cut_prompt
        )
        self._experts = ExpertResponses(self.tokenizer, max_new_tokens, context_length, self.forbidden_tokens)
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
                info[EXPERT_SEGMENT_KEY] = self._experts.segment(prompt, info[EXPECTED_RESPONSE_KEY], worth)
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
        return self._experts.segment(self._prompts.encode(prompt), response, self.expected_reward)

    def _begin_turn(self, observation: Any, info: dict[str, Any]) -> None:
        tokens = self._prompts.of(observation, info)
        self._tokens = np.full(self.context_length, EMPTY, dtype=np.int64)
        self._tokens[: len(tokens)] = tokens
        self._n_prompt = self._length = len(tokens)

    def _observe(self) -> np.ndarray:
        tokens: np.ndarray = self._tokens.copy()
        return tokens
