r"""Conversations with a user as a Gymnasium environment whose actions are whole responses.

The fibre conversation, as the data set begins with it:

>>> from nlf_sb3.language import load_health_and_science
>>> env = ConversationEnv(load_health_and_science("train"))
>>> observation, info = env.reset(seed=0, options={"record": 0})
>>> print(observation)
User: What are the best food sources for fiber in an American diet?
Bot: Raspberries, pears, apples, green peas, and broccoli are known for having high fiber.
User: That's helpful, but can you provide a source for that information?
>>> _, reward, terminated, _, info = env.step("I don't have a source, but many fruits and vegetables are high in fiber.")
>>> reward, terminated
(0.0, True)
>>> info["feedback"]
Feedback(score=0.0, text='Please provide a source, like Mayo Clinic or USDA.', text_kind='fp')
>>> print(info["expected_response"])  # doctest: +NORMALIZE_WHITESPACE
As per the USDA Nutrient Database, fruits such as raspberries, pears, and apples, and vegetables like green peas and
broccoli are high in fiber.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import FEEDBACK_KEY, Feedback
from nlf_sb3.infos import add_error, describe_error
from nlf_sb3.language.history import History, Turn, render_history
from nlf_sb3.language.records import Record, as_records
from nlf_sb3.language.text_space import UnicodeText
from nlf_sb3.language.users import Reply, SimulatedUser, User, check_reply
from nlf_sb3.seeding import derived_seed

EXPECTED_RESPONSE_KEY = "expected_response"
EXPECTED_REWARD_KEY = "expected_reward"
"""``info`` key of what the user would have liked to hear, as a str."""
HISTORY_KEY = "history"
"""``info`` key of the turns so far, as chat templates take them."""
RECORD_KEY = "record"
"""``info`` key of the record that the conversation began with: its id, or its index where it has none."""


class ConversationEnv(gym.Env[str, str]):
    """
    A user asks, the agent responds, the user scores the response, says what was wrong and what was expected.

    An observation is the history as text; ``info["history"]`` holds its turns, for a chat template. An action is a whole
    response. The reward is the user's score, 0 where none is given; ``info["feedback"]`` holds score and text,
    ``info["expected_response"]`` the expected response where the user gives one. An episode ends when the user is
    satisfied, after ``max_turns`` responses, or when the user has nothing to say that the agent could answer; until then
    the user's text is the next turn. After every turn the observation holds the response and the user's text, too.

    A user's exception travels as text in ``info["feedback_error"]``, as teachers' do, and ends the episode.

    :param user: A :class:`~nlf_sb3.language.User`, or records for a :class:`~nlf_sb3.language.SimulatedUser`
    :param records: What conversations begin with; the user's own ``records`` if None
    :param max_turns: Most responses in an episode
    :param shuffle: Whether the records come in random order, each once before any comes again; else in their own order
    :param satisfied_at: The score from which on the user is satisfied
    :param render: Makes an observation of a history
    :param max_response_chars: Most characters of a response
    :param max_history_chars: Most characters of an observation
    :raises FeedbackError: If there is no record, or one is too long
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as in gymnasium.Env

    def __init__(
        self,
        user: User | Iterable[Record],
        records: Iterable[Record] | None = None,
        *,
        max_turns: int = 1,
        shuffle: bool = True,
        satisfied_at: float = 1.0,
        render: Callable[[History], str] = render_history,
        max_response_chars: int = 20_000,
        max_history_chars: int = 1_000_000,
    ) -> None:
        if isinstance(max_turns, bool) or not isinstance(max_turns, int) or max_turns < 1:
            raise ValueError(f"max_turns: got {max_turns!r}, expected a whole number of at least 1.")
        self.user = _as_user(user)
        self.records = _begin_with(self.user, records)
        self.max_turns, self.shuffle, self.satisfied_at = max_turns, shuffle, satisfied_at
        self.render_history = render
        self.observation_space = UnicodeText(max_history_chars)
        self.action_space = UnicodeText(max_response_chars)
        for index, record in enumerate(self.records):
            if len(text := render(record.history)) > max_history_chars:
                raise FeedbackError(
                    f"records[{index}]: its history has {len(text)} characters, expected at most {max_history_chars}. "
                    "Shorten it, or raise max_history_chars."
                )
        self._order: list[int] = []
        self._history: list[Turn] = []
        self._record: int | None = None
        self._turns = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """
        :param seed: Seed of the records' order, which then begins anew, and of the user
        :param options: ``{"record": index or id}`` begins with that record and leaves the order as it is
        :return: The first observation; the turns and the record's name
        """
        super().reset(seed=seed)
        if seed is not None:
            self._order = []
            seed_method = getattr(self.user, "seed", None)
            if callable(seed_method):
                seed_method(derived_seed(seed, "user of the conversation"))
        wanted = (options or {}).get("record")
        self._record = self._next() if wanted is None else self._index_of(wanted)
        self._history = [dict(turn) for turn in self.records[self._record].history]
        self._turns = 0
        return self.render_history(self._history), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """
        :param action: The response
        :return: The history with response and text; the score; whether the conversation is over; False; feedback
        :raises FeedbackError: If the response is no text of the action space, or no conversation is going on
        """
        if self._record is None:
            raise FeedbackError("step: no conversation is going on. Call reset() before the first step and after the last.")
        if not self.action_space.contains(action):
            came = f"{len(action)} characters" if isinstance(action, str) else type(action).__name__
            raise FeedbackError(f"response: got {came}, expected a str in {self.action_space}. Cut it before it comes here.")
        reply, feedback, error = self._ask(str(action))
        self._turns += 1
        satisfied = reply.score is not None and reply.score >= self.satisfied_at
        self._history.append({"role": "assistant", "content": str(action)})
        if reply.text is not None:
            self._history.append({"role": "user", "content": reply.text})
        terminated = satisfied or reply.text is None or self._turns >= self.max_turns
        info = self._info()
        if feedback is not None:
            info[FEEDBACK_KEY] = feedback
        if reply.expected_response is not None:
            info[EXPECTED_RESPONSE_KEY] = reply.expected_response
            if reply.expected_reward is not None:
                info[EXPECTED_REWARD_KEY] = reply.expected_reward
        if error is not None:
            add_error(info, error)
        if terminated:
            self._record = None
        reward = 0.0 if feedback is None or feedback.score is None else feedback.score
        return self.render_history(self._history), reward, terminated, False, info

    def _ask(self, response: str) -> tuple[Reply, Feedback | None, str | None]:
        """The user's reply, checked; silence and a message where the user failed."""
        try:
            reply = check_reply(self.user.answer([dict(turn) for turn in self._history], response))
            if reply.score is None and reply.text is None:
                return reply, None, None
            return reply, Feedback(reply.score, reply.text, text_kind=reply.text_kind), None
        except Exception as error:  # whatever a user's code raises must reach the algorithm
            return Reply(), None, describe_error(error, f"user, turn {self._turns}")

    def _info(self) -> dict[str, Any]:
        assert self._record is not None
        name = self.records[self._record].id
        return {HISTORY_KEY: [dict(turn) for turn in self._history], RECORD_KEY: self._record if name is None else name}

    def _next(self) -> int:
        if not self._order:
            count = len(self.records)
            order = self.np_random.permutation(count).tolist() if self.shuffle else list(range(count))
            self._order = order[::-1]
        return self._order.pop()

    def _index_of(self, wanted: Any) -> int:
        for index, record in enumerate(self.records):
            if wanted == (index if not isinstance(wanted, str) else record.id) and not isinstance(wanted, bool):
                return index
        raise FeedbackError(f"record: got {wanted!r}, expected an index below {len(self.records)} or a record's id.")


def _as_user(user: Any) -> User:
    has_answer: User = user if callable(getattr(user, "answer", None)) else SimulatedUser(user)
    return has_answer


def _begin_with(user: User, records: Iterable[Record] | None) -> list[Record]:
    own = getattr(user, "records", None) if records is None else records
    if own is None:
        raise FeedbackError(f"records: {type(user).__name__} brings none to begin with. Give ConversationEnv(user, records).")
    return as_records(own)
