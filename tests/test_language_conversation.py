"""The conversation environment: what is said comes out as reward, feedback and turns."""

from __future__ import annotations

import pickle
import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from nlf_sb3 import Feedback, FeedbackError
from nlf_sb3.language import ConversationEnv, Record, Reply, SimulatedUser, UnicodeText, last_turn, toy_records

ASKED = [{"role": "user", "content": "Is a pear a fruit?"}]
PEAR = Record(ASKED, "Yes, says the USDA.", {"any_of": ["USDA"]}, "Who says so?", id="pear")
GOOD, BAD = "The USDA says that it is.", "Yes."


def test_the_environment_passes_gymnasiums_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*alternative render modes.*")
        check_env(ConversationEnv(toy_records(20), max_turns=2), skip_render_check=True)


def test_a_response_that_satisfies_ends_the_conversation_with_the_score_alone():
    env = ConversationEnv([PEAR])
    observation, info = env.reset(seed=0)
    assert observation == "User: Is a pear a fruit?"
    assert info == {"history": ASKED, "record": "pear"}
    observation, reward, terminated, truncated, info = env.step(GOOD)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["feedback"] == Feedback(score=1.0)
    assert "expected_response" not in info
    assert observation == f"User: Is a pear a fruit?\nBot: {GOOD}"


def test_over_several_turns_the_users_words_are_the_next_turn():
    env = ConversationEnv([PEAR], max_turns=3)
    _, info = env.reset(seed=0)
    before = info["history"]
    observation, reward, terminated, _, info = env.step(BAD)
    turns = [*ASKED, {"role": "assistant", "content": BAD}, {"role": "user", "content": "Who says so?"}]
    assert (reward, terminated) == (0.0, False)
    assert info["history"] == turns
    assert observation == "User: Is a pear a fruit?\nBot: Yes.\nUser: Who says so?"
    assert info["expected_response"] == "Yes, says the USDA."
    assert before == ASKED  # what was handed out stays as it was
    info["history"].clear()
    assert env.step(GOOD)[1:3] == (1.0, True)
    env.reset()
    assert [env.step(BAD)[2] for _ in range(3)] == [False, False, True]


def test_a_user_who_has_nothing_to_say_ends_the_conversation():
    env = ConversationEnv(SimulatedUser([PEAR], speaks=False), max_turns=3)
    env.reset(seed=0)
    assert env.step(BAD)[1:3] == (0.0, True)


def test_every_record_comes_once_before_any_comes_again():
    records = toy_records(12)
    env = ConversationEnv(records)

    def names(seed: int | None, count: int) -> list[str]:
        first = env.reset(seed=seed)[1]["record"]
        return [first, *(env.reset()[1]["record"] for _ in range(count - 1))]

    drawn = names(3, 24)
    assert set(drawn[:12]) == set(drawn[12:]) == {record.id for record in records}
    assert drawn[:12] != drawn[12:]
    assert drawn == names(3, 24) != names(4, 24)
    in_order = ConversationEnv(records, shuffle=False)
    assert [in_order.reset()[1]["record"] for _ in range(13)] == [record.id for record in [*records, records[0]]]


def test_a_wanted_record_leaves_the_order_as_it_is():
    env = ConversationEnv(toy_records(6), shuffle=False)
    names = [record.id for record in env.records]
    assert env.reset(seed=0)[1]["record"] == names[0]
    assert env.reset(options={"record": 4})[1]["record"] == names[4]
    assert env.reset(options={"record": names[5]})[1]["record"] == names[5]
    assert env.reset(options={})[1]["record"] == names[1]
    for wanted in (6, -1, True, "nobody"):
        with pytest.raises(FeedbackError, match="expected an index below 6 or a record's id"):
            env.reset(options={"record": wanted})
    assert ConversationEnv([Record(ASKED, "x", {"min_words": 1})]).reset()[1]["record"] == 0


def test_the_same_seed_gives_the_same_words():
    record = Record(ASKED, "x", {"any_of": ["x"]}, [f"no {number}" for number in range(50)])
    env = ConversationEnv([record])

    def said() -> list[str]:
        env.reset(seed=7)
        first = env.step("?")[4]["feedback"].text
        env.reset()
        return [first, env.step("?")[4]["feedback"].text]

    assert said() == said()


class OddUser:
    """A user that answers what it is told to."""

    def __init__(self, reply: object) -> None:
        self.reply = reply

    def answer(self, history: object, response: str) -> Reply:
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (RuntimeError("no line"), "user, turn 0 raised RuntimeError: no line"),
        (0.5, "user, turn 0: user: got 0.5 .float., expected a Reply"),
        (Reply(score=float("nan")), "user, turn 0: score: got nan"),
        (Reply(text=3), "text: got 3"),
        (Reply(text=""), "text: got an empty text"),
        (Reply(expected_response=" "), "expected_response: got an empty text"),
        (Reply(score=1.0, text="x", text_kind="odd"), "text_kind: got 'odd'"),
    ],
)
def test_a_users_failure_travels_in_the_info_and_ends_the_episode(reply, message):
    env = ConversationEnv(OddUser(reply), [PEAR], max_turns=2)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(BAD)
    assert (reward, terminated) == (0.0, True)
    assert "feedback" not in info
    with pytest.raises(FeedbackError, match=message):
        raise FeedbackError(info["feedback_error"])


@pytest.mark.parametrize("reply", [None, Reply(), Reply(expected_response="Yes, says the USDA.")])
def test_silence_carries_no_feedback_and_pays_nothing(reply):
    env = ConversationEnv(OddUser(reply), [PEAR])
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(BAD)
    assert (reward, terminated) == (0.0, True)
    assert "feedback" not in info
    assert info.get("expected_response") == (reply_expected(reply))


def reply_expected(reply: Reply | None) -> str | None:
    return None if reply is None else reply.expected_response


def test_a_score_below_satisfaction_is_the_reward_and_the_conversation_goes_on():
    env = ConversationEnv(OddUser(Reply(0.6, "Almost.")), [PEAR], max_turns=2)
    env.reset()
    assert env.step(BAD)[1:3] == (0.6, False)
    env = ConversationEnv(OddUser(Reply(0.6, "Almost.")), [PEAR], max_turns=2, satisfied_at=0.5)
    env.reset()
    assert env.step(BAD)[1:3] == (0.6, True)


def test_misuse_is_refused_with_a_way_to_mend_it():
    env = ConversationEnv([PEAR], max_response_chars=10)
    with pytest.raises(FeedbackError, match=r"Call reset\(\)"):
        env.step(BAD)
    env.reset()
    for response, came in ((3, "int"), ("x" * 11, "11 characters"), ("\ud800", "1 characters")):
        with pytest.raises(FeedbackError, match=f"response: got {came}"):
            env.step(response)
    assert env.step("USDA")[1] == 1.0  # a refused response lost nothing
    with pytest.raises(FeedbackError, match=r"Call reset\(\)"):
        env.step(BAD)
    with pytest.raises(FeedbackError, match=r"OddUser brings none to begin with"):
        ConversationEnv(OddUser(None))
    with pytest.raises(FeedbackError, match="records: got none"):
        ConversationEnv([])
    with pytest.raises(FeedbackError, match="its history has 24 characters"):
        ConversationEnv([PEAR], max_history_chars=23)
    with pytest.raises(ValueError, match="max_turns"):
        ConversationEnv([PEAR], max_turns=0)


def test_environments_can_be_pickled_and_run_side_by_side():
    env = pickle.loads(pickle.dumps(ConversationEnv([PEAR])))
    env.reset(seed=0)
    assert env.step(GOOD)[1] == 1.0
    several = gym.vector.SyncVectorEnv([lambda: ConversationEnv([PEAR])] * 2)
    assert several.reset(seed=0)[0] == ("User: Is a pear a fruit?",) * 2
    assert several.step((GOOD, BAD))[1].tolist() == [1.0, 0.0]
    several.close()


def test_a_text_space_holds_any_unicode_up_to_its_length():
    space = UnicodeText(5, min_length=1, seed=0)
    assert all(text in space for text in ("a", "\n\0", "日本語", "\U0001f345"))
    assert not any(text in space for text in ("", "123456", "\ud83c", 3, None, b"a"))
    assert all(space.sample() in space for _ in range(100))
    assert space == UnicodeText(5, min_length=1) != UnicodeText(5)
    assert pickle.loads(pickle.dumps(space)) == space
    flat = gym.spaces.flatten(space, "a日\U0001f345")
    assert flat in gym.spaces.flatten_space(space)
    assert gym.spaces.unflatten(space, flat) == "a日\U0001f345"
    with pytest.raises(ValueError, match="expected none"):
        space.sample(mask=(1, None))


def test_toy_questions_are_short_different_and_split():
    records = toy_records(400, seed=1)
    train = {last_turn(record.history) for record in records if record.split == "train"}
    held_out = {last_turn(record.history) for record in records if record.split == "held_out"}
    assert (len(train), len(held_out), len(train & held_out)) == (300, 100, 0)
    assert max(len(record.expected_response.encode()) for record in records) < 16
    assert toy_records(400, seed=1) == records != toy_records(400, seed=2)
    env = ConversationEnv(records, render=last_turn)
    for index, record in enumerate(records):
        observation, _ = env.reset(options={"record": index})
        assert observation == record.history[0]["content"]
        assert env.step(record.expected_response)[1] == 1.0
        env.reset(options={"record": index})
        assert env.step(record.response)[1] == 0.0
    with pytest.raises(ValueError, match="n: got 0"):
        toy_records(0)
