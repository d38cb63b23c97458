"""The MDP of tokens on an environment of texts: what is asked, answered, rewarded, expected and refused."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from language_helpers import BYTES, EOS, ScriptedEnv, token_env

from nlf_sb3 import Demonstrations, FeedbackError
from nlf_sb3.feedback import FEEDBACK_ERROR_KEY
from nlf_sb3.language import TokenLevel, as_tokenizer
from nlf_sb3.language.contexts import EMPTY, without_padding


def prompt_tokens(text):
    return [BYTES.bos, *text.encode()]


def play(env, tokens):
    """All steps of some tokens."""
    return [env.step(token) for token in tokens]


def test_a_response_is_given_at_its_end_and_rewarded_on_its_last_token():
    env = token_env()
    observation, info = env.reset()
    assert info == {"asked": "hi"}
    assert without_padding(observation).tolist() == prompt_tokens("hi")
    steps = play(env, [*b"yes", EOS])
    assert env.unwrapped.heard == ["yes"]
    assert [step[1] for step in steps] == [0.0, 0.0, 0.0, 3.0]
    assert [step[2] for step in steps] == [False, False, False, True]
    assert without_padding(steps[-1][0]).tolist() == [*prompt_tokens("hi"), *b"yes", EOS]
    assert steps[0][4] == {}
    assert steps[-1][4] == {"response": "yes", "response_truncated": False}
    assert all(env.observation_space.contains(step[0]) for step in steps)


def test_a_response_that_does_not_end_is_cut_and_given_all_the_same():
    env = token_env()
    env.reset()
    *_, last = play(env, b"abcdef")
    assert env.unwrapped.heard == ["abcdef"]
    assert last[1:3] == (6.0, True)
    assert last[4]["response_truncated"]


def test_the_last_token_allowed_may_be_the_end():
    env = token_env()
    env.reset()
    *_, last = play(env, [*b"abcde", EOS])
    assert last[4] == {"response": "abcde", "response_truncated": False}


def test_an_episode_goes_on_with_the_next_turns_prompt():
    env = token_env(("first", "second"))
    env.reset()
    steps = play(env, [ord("a"), EOS, ord("b"), EOS])
    assert [step[2] for step in steps] == [False, False, False, True]
    assert [step[1] for step in steps] == [0.0, 1.0, 0.0, 1.0]
    assert without_padding(steps[1][0]).tolist() == prompt_tokens("second")
    assert env.unwrapped.heard == ["a", "b"]


def test_the_inner_info_passes_on_untouched():
    feedback = object()
    env = token_env(info={"feedback": feedback, "mood": "good"})
    env.reset()
    info = play(env, [EOS])[-1][4]
    assert info["feedback"] is feedback
    assert info["mood"] == "good"


def test_an_expected_response_is_the_experts_episode_from_the_same_prompt():
    env = token_env(("first", "second"), info={"expected_response": "ok"}, expected_reward=2.0)
    env.reset()
    *_, last = play(env, [EOS, ord("x"), EOS])
    segment = last[4]["expert_segment"]
    assert [tokens.tolist() for tokens in segment.observations] == [
        prompt_tokens("second") + tail for tail in ([], [ord("o")], [ord("o"), ord("k")])
    ]
    assert segment.actions.tolist() == [ord("o"), ord("k"), EOS]
    assert segment.rewards.tolist() == [0.0, 0.0, 2.0]
    assert (segment.terminated, segment.truncated, segment.fork_step) == (True, False, 0)
    assert without_padding(segment.last_observation).tolist() == [*prompt_tokens("second"), *b"ok", EOS]
    assert len(segment.observations.distinct()[0]) == 1


@pytest.mark.parametrize(
    ("response", "settings", "message"),
    [
        ("much too long", {}, r"got 14 tokens with the end of sequence, expected at most max_new_tokens=6"),
        (5, {}, "got int, expected a str"),
        ("\ud800", {}, "holds half of a surrogate pair"),
        ("no", {"forbidden_tokens": [ord("n")]}, "holds forbidden_tokens"),
    ],
)
def test_an_expected_response_that_cannot_be_one_is_bad_feedback(response, settings, message):
    env = token_env(info={"expected_response": response}, **settings)
    env.reset()
    info = play(env, [EOS])[-1][4]
    assert "expert_segment" not in info
    with pytest.raises(FeedbackError, match=message):
        raise FeedbackError(info[FEEDBACK_ERROR_KEY])


def test_a_prompt_without_room_is_refused_or_cut_at_its_left():
    long = "a long way to go, and more"
    with pytest.raises(ValueError, match=r"got 27 tokens, expected at most 18 \(context_length=24 less max_new_tokens=6\)"):
        token_env((long,)).reset()
    observation, _ = token_env((long,), cut_prompt=True).reset()
    assert without_padding(observation).tolist() == list(long.encode())[-18:]


@pytest.mark.parametrize("prompt", ["half \ud800", [{"role": "user", "content": "\udfff"}]])
def test_a_prompt_that_is_no_unicode_is_refused_by_name(prompt):
    with pytest.raises(ValueError, match=r"prompt: .* holds half of a surrogate pair"):
        token_env(prompt=lambda _: prompt).reset()


def test_any_observation_is_a_prompt_by_a_function():
    env = token_env(prompt=lambda text: [{"role": "user", "content": text}])
    observation, _ = env.reset()
    assert BYTES.decode(without_padding(observation).tolist()) == "user: hi\n"
    with pytest.raises(TypeError, match="expected a str or a list of messages"):
        token_env(prompt=lambda text: 3).reset()


class Remembering(ScriptedEnv):
    """Says in its info what was said, as ConversationEnv does."""

    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        self.turns = [{"role": "user", "content": observation}]
        return observation, {**info, "history": self.turns}

    def step(self, action):
        observation, *others, info = super().step(action)
        self.turns = [*self.turns, {"role": "assistant", "content": action}, {"role": "user", "content": observation}]
        return observation, *others, {**info, "history": self.turns}


def test_a_prompt_can_be_the_history_whatever_the_observation_is():
    class Numbers(gym.ObservationWrapper):
        observation_space = spaces.Discrete(7)

        def observation(self, observation):
            return len(observation)

    texts = Remembering(("a\nassistant: b", "c"))
    env = TokenLevel(Numbers(texts), BYTES, max_new_tokens=6, context_length=64, prompt="history")
    observation, _ = env.reset()
    assert BYTES.decode(without_padding(observation).tolist()) == "user: a\n\\assistant: b\n"
    *_, (observation, *_) = play(env, [ord("x"), EOS])
    assert BYTES.decode(without_padding(observation).tolist()) == "user: a\n\\assistant: b\nassistant: x\nuser: c\n"


def test_action_masks_hold_what_is_forbidden():
    env = token_env(forbidden_tokens=[BYTES.bos, 0])
    assert np.flatnonzero(~env.action_masks()).tolist() == [0, BYTES.bos]


def test_large_vocabularies_have_no_action_masks():
    class Large(type(BYTES)):
        n_tokens = 2000

    env = TokenLevel(token_env().env, Large(), max_new_tokens=2, context_length=8)
    assert not hasattr(env, "action_masks")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens"),
        ({"context_length": 6}, ValueError, "context_length: got 6, expected a whole number of at least 7"),
        ({"forbidden_tokens": [EOS]}, ValueError, "without which no response ends"),
        ({"forbidden_tokens": [3, 258]}, ValueError, "forbidden_tokens: got 258, expected tokens below 258"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        token_env(**settings)


def test_only_environments_of_texts_are_wrapped():
    with pytest.raises(TypeError, match=r"expected gymnasium\.spaces\.Text"):
        TokenLevel(gym.make("CartPole-v1"), BYTES, max_new_tokens=2, context_length=8)
    with pytest.raises(TypeError, match="tokenizer: got int"):
        as_tokenizer(3)


def test_answers_from_a_data_set_are_demonstrations():
    env = token_env()
    demonstrations = Demonstrations.from_segments([env.segment_of("hi", "a"), env.segment_of("what?", "bc")])
    assert demonstrations.actions.tolist() == [ord("a"), EOS, ord("b"), ord("c"), EOS]
    assert demonstrations.checked(env.observation_space, env.action_space).observations is demonstrations.observations
    assert demonstrations.observations[2].tolist() == prompt_tokens("what?")


def test_bytes_come_back_as_they_went_and_special_tokens_are_no_text():
    text = "Grüße, 你好"
    assert BYTES.decode([BYTES.bos, *BYTES.encode(text), EOS]) == text
    assert isinstance(token_env().action_space, spaces.Discrete)
    assert EMPTY not in BYTES.encode(text)
