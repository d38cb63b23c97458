"""Policies, algorithms and environments of texts and tokens that don't go together are refused by name."""

import warnings

import gymnasium as gym
import pytest
from language_helpers import BYTES, ScriptedEnv, token_env

from nlf_sb3 import PPO, REINFORCE, TRPO, Feedback, FeedbackError, FeedbackWrapper, MaskablePPO, RecurrentPPO
from nlf_sb3.language import CausalLMPolicy, TokenEpisodeBuffer, TokenLevel, TokenRolloutBuffer

TINY = {"policy_kwargs": {"model": "tiny"}, "device": "cpu"}


@pytest.mark.parametrize("policy", [CausalLMPolicy, "MlpPolicy"])
def test_an_environment_of_texts_is_sent_to_token_level(policy):
    with pytest.raises(FeedbackError, match=r"env: got observations of Text.*TokenLevel\(env"):
        PPO(policy, ScriptedEnv())


def test_a_language_model_is_refused_for_other_spaces_than_tokens():
    with pytest.raises(ValueError, match=r"CausalLMPolicy: got observations of Box.*expected those of TokenLevel") as caught:
        PPO(CausalLMPolicy, gym.make("CartPole-v1"), **TINY)
    assert "VecNormalize" not in str(caught.value)


@pytest.mark.parametrize("algorithm", [TRPO, MaskablePPO, RecurrentPPO])
def test_algorithms_that_cant_train_one_say_so_when_made(algorithm):
    with pytest.raises(FeedbackError, match=f"{algorithm.__name__} can't train CausalLMPolicy. Use REINFORCE, PPO or A2C"):
        algorithm(CausalLMPolicy, token_env(), **TINY)


@pytest.mark.parametrize(("algorithm", "sizes"), [(PPO, {"n_steps": 16, "batch_size": 8}), (REINFORCE, {"n_episodes": 2})])
def test_another_policy_is_refused_with_the_first_expected_response(algorithm, sizes):
    model = algorithm("MlpPolicy", token_env(info={"expected_response": "aaa"}), device="cpu", **sizes)
    with pytest.raises(FeedbackError, match=r"made of tokens.*which ActorCriticPolicy can't read. Use .*CausalLMPolicy"):
        model.learn(16)


@pytest.mark.parametrize(("algorithm", "buffer"), [(PPO, TokenRolloutBuffer), (REINFORCE, TokenEpisodeBuffer)])
def test_another_policy_is_refused_with_a_buffer_of_tokens_when_made(algorithm, buffer):
    with pytest.raises(FeedbackError, match=f"{buffer.__name__} holds tokens, which ActorCriticPolicy can't read"):
        algorithm("MlpPolicy", token_env(), rollout_buffer_class=buffer)


def test_words_about_responses_are_not_sent_to_an_interpreter_of_actions():
    said = FeedbackWrapper(ScriptedEnv(), lambda t: Feedback(score=1.0, text="ok"), score_as_reward="replace")
    env = TokenLevel(said, BYTES, max_new_tokens=4, context_length=24)
    model = PPO(CausalLMPolicy, env, n_steps=16, batch_size=8, **TINY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(16)
    (message,) = [str(warning.message) for warning in caught if "nothing reads it" in str(warning.message)]
    assert "RuleInterpreter" not in message
    assert "score" in message


def test_silence_about_responses_may_be_a_wrappers_fault():
    env = TokenLevel(FeedbackWrapper(ScriptedEnv(), lambda t: None), BYTES, max_new_tokens=4, context_length=24)
    with pytest.warns(UserWarning, match="its teachers returned None, or a wrapper around it replaced the infos"):
        PPO(CausalLMPolicy, env, n_steps=16, batch_size=8, **TINY).learn(16)
