"""What a new user gets wrong first, and that the message says what to do instead."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv
from own_policies import BetaDistribution, IsBeta, StillEnv
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3 import PPO, Feedback, FeedbackError, FeedbackWrapper, TrajectoryInjection, presets
from nlf_sb3.schedules import PerformanceSchedule, Trial
from nlf_sb3.teachers import CallableExpert, ExpertTeacher, PolicyExpert
from nlf_sb3.text import ActionNames, Dimension, RuleInterpreter

SIZES = {"n_steps": 16, "batch_size": 8, "n_epochs": 1, "seed": 0, "device": "cpu"}


def learn(env, policy="MlpPolicy", **arguments):
    return PPO(policy, env, **SIZES, **arguments).learn(16)


def refused(env, **arguments):
    with pytest.raises(FeedbackError) as caught:
        learn(env, **arguments)
    return str(caught.value)


def warned(env):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learn(env)
    return [str(warning.message) for warning in caught if "The first 16 steps" in str(warning.message)]


# --- feedback that gets lost ---------------------------------------------------------------------------


class NewInfos(gym.Wrapper):
    def __init__(self, env, entries):
        super().__init__(env)
        self._entries = entries

    def step(self, action):
        *result, info = super().step(action)
        return *result, self._entries(info)


@pytest.mark.parametrize(
    "entries", [lambda info: {}, lambda info: {**info, "feedback": "mine"}], ids=["other infos", "another entry"]
)
def test_feedback_that_a_wrapper_around_lost_is_told_from_silence(entries):
    (message,) = warned(NewInfos(FeedbackWrapper(ToyEnv(), lambda t: Feedback(score=1)), entries))
    assert "infos of environment 0 arrived without what it put there. NewInfos is around it." in message
    assert "returned None" not in message


def test_silence_is_called_silence_whatever_wrapper_is_around():
    (message,) = warned(NewInfos(FeedbackWrapper(ToyEnv(), lambda t: None), dict))
    assert "its teachers returned None." in message


def test_the_interpreter_that_is_suggested_has_names():
    (message,) = warned(FeedbackWrapper(ToyEnv(), lambda t: Feedback(text="Go right.")))
    assert "RuleInterpreter(ActionNames(env.action_space, [Dimension(" in message


@pytest.mark.parametrize("expert_return", [-150.0, 0])
def test_a_return_that_the_preset_leaves_out_is_pointed_out_with_what_to_use(expert_return):
    with pytest.warns(UserWarning, match="worst_return") as caught:
        presets.feedback("PPO", expert_return=expert_return)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        presets.feedback("PPO", expert_return=150.0)
        presets.feedback("A2C", expert_return=expert_return)  # which doesn't use it
    env = ToyEnv()
    arguments = {**presets.feedback("PPO"), "alpha": Trial(PerformanceSchedule(expert_return, worst_return=-1000.0))}
    PPO(env=env, expert=lambda observations: np.zeros((len(observations), 2), np.float32), **arguments).learn(96)


# --- labels and experts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "label", "message"),
    [
        ("discrete", [1], "got shape (1,), expected () for Discrete(3). Give one number."),
        ("box", 0.5, "got shape (), expected (2,) for Box"),
        ("box", [[0.5, 0.5]], "got shape (1, 2), expected (2,) for Box"),
    ],
)
def test_the_shape_of_one_label_is_that_of_one_action(action, label, message):
    assert message in refused(FeedbackWrapper(ToyEnv(action), lambda t: Feedback(expert_action=label)))


def of_one_row(observation):
    return int(observation[2] > 0)


def of_no_row(observation):
    return 0


def asks_teacher(expert):
    return FeedbackWrapper(ToyEnv("discrete"), ExpertTeacher(expert))


def asks_takeover(expert):
    return TrajectoryInjection(ToyEnv("discrete"), expert, 1.0, mode="takeover")


def asks_fork(expert):
    return TrajectoryInjection(ToyEnv("discrete"), expert, 1.0, twin=lambda: ToyEnv("discrete"))


EVERYWHERE = [asks_teacher, asks_takeover, asks_fork]


@pytest.mark.parametrize("ask", EVERYWHERE)
@pytest.mark.parametrize("expert", [of_one_row, of_no_row])
def test_a_function_of_one_observation_is_told_of_batches_wherever_it_is_asked(ask, expert):
    assert "CallableExpert(f, batched=False)" in refused(ask(expert))
    learn(ask(CallableExpert(expert, batched=False)))


def not_a_number(observations):
    return np.full(len(observations), np.nan)


@pytest.mark.parametrize("ask", EVERYWHERE)
def test_an_answer_that_has_rows_is_not(ask):
    assert "batched=False" not in refused(ask(not_a_number))


def as_expert_of_rollouts(expert):
    return ToyEnv("discrete"), {"expert": expert}


@pytest.mark.parametrize("ask", [*EVERYWHERE, as_expert_of_rollouts])
def test_what_predict_returns_is_known_by_its_pair_and_not_printed(ask):
    model = SB3PPO("MlpPolicy", ToyEnv("discrete"), device="cpu")
    asked = ask(lambda observations: model.predict(observations))
    env, arguments = asked if isinstance(asked, tuple) else (asked, {})
    message = refused(env, **arguments)
    assert "returned a pair, as predict" in message
    assert "model.predict" in message
    assert "array" not in message


@pytest.mark.parametrize("teacher", [lambda o: (o[:, 2] > 0).astype(int), lambda o: int(o[2] > 0)], ids=["raises", "answers"])
def test_an_expert_in_the_place_of_a_teacher_is_sent_to_its_teacher(teacher):
    assert "ExpertTeacher(expert)" in refused(FeedbackWrapper(ToyEnv("discrete"), teacher))


def test_a_teachers_own_mistake_is_not_taken_for_an_experts():
    message = refused(FeedbackWrapper(ToyEnv("discrete"), lambda t: Feedback(score=t.observation[7])))
    assert "IndexError" in message
    assert "ExpertTeacher" not in message


def test_a_models_predict_and_a_class_are_no_teachers():
    model = SB3PPO("MlpPolicy", ToyEnv("discrete"), device="cpu")
    with pytest.raises(FeedbackError, match=r"Wrap it in ExpertTeacher\(model\)"):
        FeedbackWrapper(ToyEnv("discrete"), model.predict)
    with pytest.raises(FeedbackError, match=r"got the class ExpertTeacher, .* Write ExpertTeacher\(\.\.\.\)"):
        FeedbackWrapper(ToyEnv("discrete"), ExpertTeacher)
    with pytest.raises(FeedbackError, match="expert: got the class PolicyExpert"):
        ExpertTeacher(PolicyExpert)


class Wide(ToyEnv):
    def __init__(self):
        super().__init__("discrete")
        self.observation_space = spaces.Box(-1, 1, (7,), np.float32)


@pytest.mark.parametrize(("env", "what"), [(Wide(), "observations"), (ToyEnv("box"), "actions")])
def test_a_policy_of_other_spaces_is_refused_when_the_learner_is_made(env, what):
    model = SB3PPO("MlpPolicy", ToyEnv("discrete"), device="cpu")
    for make in (
        lambda: PPO("MlpPolicy", env, expert=model),
        lambda: FeedbackWrapper(env, ExpertTeacher(model)),
        lambda: TrajectoryInjection(env, model, mode="takeover"),
    ):
        with pytest.raises(FeedbackError) as caught:
            make()
        assert f"trained on {what} of" in str(caught.value)
        for space in (getattr(one, f"{what[:-1]}_space") for one in (model, env)):
            assert str(space) in str(caught.value)


def test_a_policy_whose_bounds_alone_are_others_is_taken():
    model = SB3PPO("MlpPolicy", ToyEnv("box", bound=0.4), device="cpu")
    learn(ToyEnv("box", bound=1.0), expert=model)


class NoMode(BetaDistribution):
    def mode(self):
        raise NotImplementedError


class BetaWithoutMode(IsBeta, ActorCriticPolicy):
    distribution_class = NoMode


def test_words_of_blame_say_that_a_policy_of_ones_own_needs_a_mode():
    env = StillEnv()
    names = ActionNames(env.action_space, [Dimension("push", low="left", high="right")])
    blamed = FeedbackWrapper(env, lambda t: Feedback(text="That was wrong."))
    with th.random.fork_rng(), pytest.raises(FeedbackError, match=r"BetaWithoutMode: NoMode, .* has no mode\(\)"):
        learn(blamed, BetaWithoutMode, interpreter=RuleInterpreter(names))
