"""Words in training: labels made of remarks, blame that pushes away, predicted words, and what is refused."""

import io
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import PENDULUM, ToyEnv, assert_same_model, watch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import A2C, PPO, REINFORCE, TRPO, Feedback, FeedbackWrapper, MaskablePPO, RecurrentPPO
from nlf_sb3.losses import leaving_factors
from nlf_sb3.teachers import ConsoleTeacher, ExpertTeacher, SpeakingTeacher, Transition
from nlf_sb3.text import ActionNames, HashedNgrams, LearnedInterpreter, RuleInterpreter, TextPrediction

SMALL = {
    PPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 2},
    A2C: {"n_steps": 8},
    TRPO: {"n_steps": 32, "batch_size": 16},
    REINFORCE: {"n_episodes": 3},
    MaskablePPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 2},
    RecurrentPPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 2},
}
WHICH = {
    "box": (PPO, A2C, TRPO, REINFORCE, RecurrentPPO),
    "discrete": (PPO, A2C, TRPO, REINFORCE, MaskablePPO),
    "multidiscrete": (PPO, TRPO),
}


def always(action):
    return lambda observations: np.stack([action] * len(observations))


def make(algorithm, env, **arguments):
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    return algorithm(policy, env, seed=1, device="cpu", **{**SMALL[algorithm], **arguments})


CASES = [(kind, algorithm) for kind, several in WHICH.items() for algorithm in several]


@pytest.mark.parametrize(("kind", "algorithm"), CASES)
def test_every_algorithm_learns_what_words_ask_for(kind, algorithm):
    env = ToyEnv(kind)
    wanted = {"box": np.array([0.8, -0.8], dtype=np.float32), "discrete": 2, "multidiscrete": np.array([2, 0])}[kind]
    names = ActionNames(env.action_space)
    teacher = SpeakingTeacher(always(wanted), names)
    narrow = {"policy_kwargs": {"log_std_init": -1.5}} if kind == "box" else {}
    env = FeedbackWrapper(env, teacher)
    rate = 0.005 if algorithm is A2C else 0.02  # with RMSprop and the larger one, two of eight seeds stray on the way
    model = make(algorithm, env, interpreter=RuleInterpreter(names), alpha=0.0, learning_rate=rate, **narrow)

    def distance():
        with th.random.fork_rng():
            observations = np.stack([np.array([0.1, -0.2, 0.3], dtype=np.float32)] * 64)
            actions, _ = model.predict(observations, deterministic=kind == "box")  # a Gaussian's spread is left alone
        return np.abs(actions.reshape(64, -1).astype(float) - np.ravel(wanted)).mean()

    before = distance()
    model.learn(800, **({"use_masking": False} if algorithm is MaskablePPO else {}))
    assert distance() < 0.8 * before


def warnings_of(steps=64, teacher=lambda transition: Feedback(text="Go up."), **arguments):
    model = make(PPO, FeedbackWrapper(ToyEnv("box"), teacher), **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(steps)
    return [str(warning.message) for warning in caught if "carried text" in str(warning.message)]


def test_text_that_nothing_reads_is_pointed_out_once():
    (message,) = warnings_of()
    assert "nothing reads it. Pass an interpreter" in message
    assert warnings_of(expert=lambda observations: np.zeros((len(observations), 2))) == []
    assert warnings_of(auxiliary_losses=[TextPrediction()]) == []


def test_text_of_which_nothing_is_understood_is_pointed_out_once():
    names = ActionNames(ToyEnv("box").action_space)
    (message,) = warnings_of(teacher=lambda t: Feedback(text="lorem ipsum"), interpreter=RuleInterpreter(names))
    assert "made a label of none of it" in message
    assert warnings_of(interpreter=RuleInterpreter(names)) == []


def test_a_remark_becomes_the_label_that_coach_would_make():
    env = ToyEnv("box")
    names = ActionNames(env.action_space)

    def teacher(transition):
        return Feedback(text="First: go up.") if transition.step % 2 == 0 else Feedback(text="Good.", score=1)

    seen = {}

    class Spy(RuleInterpreter):
        def interpret(self, remarks):
            seen["remarks"], seen["corrections"] = remarks, super().interpret(remarks)
            return seen["corrections"]

    model = make(PPO, FeedbackWrapper(env, teacher), interpreter=Spy(names))
    watch(model)
    model.learn(32)
    buffer, remarks = model.rollout_buffer, seen["remarks"]
    assert remarks.texts[:1] == ["First: go up."]
    assert len(remarks) == 32
    is_advice = np.array([text != "Good." for text in remarks.texts])
    labels = buffer.label_actions[:, 0]
    stepped = np.clip(remarks.actions + np.array([0.2, 0.0]), -1, 1)  # 0.2 half ranges of 1
    assert labels[is_advice] == pytest.approx(stepped[is_advice], abs=1e-6)
    assert labels[~is_advice] == pytest.approx(remarks.actions[~is_advice], abs=1e-6)
    assert buffer.label_weights[:, 0] == pytest.approx(np.where(is_advice, 1.0, 0.5))
    assert model.logger.name_to_value["feedback/text_used"] == 1.0
    assert "; read as directions" in model.logger.name_to_value["feedback/text_sample"]


def test_an_expert_s_action_comes_before_words_and_teaches_the_interpreter():
    env = ToyEnv("box")
    names = ActionNames(env.action_space)
    expert = always(np.array([0.5, 0.5], dtype=np.float32))
    interpreter = LearnedInterpreter(names, HashedNgrams(64), min_rows=10)
    teachers = [SpeakingTeacher(expert, names), ExpertTeacher(expert, probability=0.5)]
    model = make(PPO, FeedbackWrapper(env, teachers), interpreter=interpreter)
    model.learn(32)
    labels = model.rollout_buffer.label_actions[:, 0]
    n_expert = int((labels == 0.5).all(axis=1).sum())
    assert interpreter.n_rows == n_expert > 5


@pytest.mark.parametrize("kind", ["box", "discrete"])
@pytest.mark.parametrize(("text", "sign"), [("That was bad.", -1), ("Well done!", 1)])
def test_blame_makes_an_action_less_likely_and_praise_likelier(kind, text, sign):
    env = ToyEnv(kind)
    names = ActionNames(env.action_space)
    model = make(PPO, FeedbackWrapper(env, lambda t: Feedback(text=text)), interpreter=RuleInterpreter(names), alpha=0.0)
    model.learn(32)  # the rollout and its update
    buffer = model.rollout_buffer
    observations, actions = th.as_tensor(buffer.observations), th.as_tensor(buffer.actions)
    old = buffer.log_probs.ravel()
    _, new, _ = model.policy.evaluate_actions(observations.reshape(32, -1), actions.reshape(32, -1).squeeze(-1))
    assert sign * float(new.detach().numpy().mean() - old.mean()) > 0
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


def test_leaving_by_hand():
    # rho / (1 - rho): 0.25 -> 1/3, 0.5 -> 1, and 1 at most
    factors = leaving_factors(th.log(th.tensor([0.25, 0.5, 0.9, 1.0])))
    assert factors.tolist() == pytest.approx([1 / 3, 1.0, 1.0, 1.0])


def test_blame_for_ever_stays_finite():
    env = ToyEnv("box")
    interpreter = RuleInterpreter(env.action_space)
    model = make(
        PPO, FeedbackWrapper(env, lambda t: Feedback(text="Bad.")), interpreter=interpreter, alpha=0.0, learning_rate=0.01
    )
    model.learn(2000)
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


@pytest.mark.parametrize("algorithm", [PPO, A2C, REINFORCE])
def test_without_an_interpreter_or_understanding_training_is_the_original_s(algorithm):
    models = []
    for interprets in (False, True):
        env = FeedbackWrapper(ToyEnv("box"), lambda t: Feedback(text="Mix flour, butter and sugar."))
        more = {"interpreter": RuleInterpreter(env.action_space)} if interprets else {}
        models.append(make(algorithm, env, **more).learn(96))
    assert_same_model(*models)


def test_what_a_mask_forbids_is_not_asked_for():
    class Masked(ToyEnv):
        def action_masks(self):
            return np.array([True, True, False])

    env = Masked("discrete")
    interpreter = RuleInterpreter(env.action_space)
    model = make(MaskablePPO, FeedbackWrapper(env, lambda t: Feedback(text="Go up.")), interpreter=interpreter)
    model.learn(32)
    used = model.rollout_buffer.label_weights[:, 0] != 0
    assert used.any()
    assert (model.rollout_buffer.label_actions[:, 0][used] == 1).all()


def test_several_environments_and_late_words():
    def teacher(transition):
        return Feedback(text="Second: go down.", steps_ago=1 if transition.step else 0)

    env = DummyVecEnv([lambda: FeedbackWrapper(ToyEnv("box"), teacher)] * 3)
    model = make(PPO, env, interpreter=RuleInterpreter(env.action_space))
    model.learn(96)
    assert (model.rollout_buffer.label_kinds[:-1] != 0).mean() > 0.8


def predicted(kind, speak, timesteps, **arguments):
    """Train with a prediction of what is said; the model, and the loss of each update."""
    losses = []

    class Keep(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            losses.append(self.logger.name_to_value.get("train/text_prediction_loss"))

    prediction = TextPrediction(HashedNgrams(64), coef=1.0, learning_rate=3e-2)
    env = FeedbackWrapper(ToyEnv(kind), lambda t: Feedback(text=speak(t)))
    model = make(PPO, env, auxiliary_losses=[prediction], **arguments)
    model.learn(timesteps, callback=Keep())
    return model, [loss for loss in losses if loss]


def test_prediction_trains_the_features_and_its_head():
    text_of = {True: "The first number is high.", False: "It is low, the first one."}
    model, losses = predicted("box", lambda t: text_of[bool(t.observation[0] > 0)], 512)
    assert losses[-1] < 0.5 * losses[0]
    plain = make(PPO, FeedbackWrapper(ToyEnv("box"), lambda t: Feedback(text="x"))).learn(512)
    first, second = (m.policy.mlp_extractor.policy_net[0].weight for m in (model, plain))
    assert not th.equal(first, second)


@pytest.mark.parametrize("kind", ["discrete", "multidiscrete"])
def test_prediction_tells_choices_apart(kind):
    says = ["the first was chosen", "it took another", "here is a third"]  # no line runs through three texts
    _, losses = predicted(kind, lambda t: says[int(np.ravel(t.action)[0])], 512, n_epochs=5)
    assert losses[-1] < 0.1


def test_prediction_refuses_what_has_no_features_of_its_own():
    env = FeedbackWrapper(ToyEnv("box"), lambda t: Feedback(text="x"))
    with pytest.raises(ValueError, match="no actor's features"):
        make(RecurrentPPO, env, auxiliary_losses=[TextPrediction()]).learn(64)
    with pytest.raises(ValueError, match="auxiliary_losses"):
        make(TRPO, env, auxiliary_losses=[TextPrediction()])


def test_the_wrong_space_and_the_wrong_kind_are_refused():
    env = ToyEnv("box")
    with pytest.raises(ValueError, match="reads remarks about actions of Discrete"):
        make(PPO, env, interpreter=RuleInterpreter(gym.spaces.Discrete(2)))
    with pytest.raises(ValueError, match="RuleInterpreter"):
        make(PPO, env, interpreter="rules")
    with pytest.raises(ValueError, match="auxiliary_losses"):
        make(PPO, env, auxiliary_losses=[0.1])


def test_interpreters_stay_out_of_saved_models(tmp_path):
    env = ToyEnv("box")
    interpreter = RuleInterpreter(env.action_space)
    make(PPO, env, interpreter=interpreter).save(tmp_path / "model")
    assert PPO.load(tmp_path / "model").interpreter is None
    assert PPO.load(tmp_path / "model", interpreter=interpreter).interpreter is interpreter


def test_a_person_at_the_console():
    answers = "too far left /score 0\n\n/action 1.5, 2 extra\n/action 0.5\nup /action 9\nbetter\n/skip 2\n"
    out = io.StringIO()
    teacher = ConsoleTeacher(gym.spaces.Box(-1, 1, (1,)), source=io.StringIO(answers), out=out)
    step = Transition(np.zeros(2), np.zeros(1), 0.0, np.zeros(2), False, False, {}, 0)
    first = teacher(step)
    assert (first.text, first.score) == ("too far left", 0)
    assert teacher(step) is None
    assert teacher(step).expert_action == pytest.approx([0.5])  # after a line that can't be read
    assert teacher(step).text == "better"  # after an action outside the space
    assert [teacher(step) for _ in range(5)] == [None] * 5  # two skipped, and then the end of the input
    assert "expected a number" in out.getvalue()
    assert "outside" in out.getvalue()


@pytest.mark.parametrize("env_id", [PENDULUM])  # CartPole is an example's
def test_text_alone_solves(env_id):
    from nlf_sb3 import presets
    from nlf_sb3.experiments.compare.experts import make_expert
    from nlf_sb3.experiments.compare.words import names_of

    env = gym.make(env_id)
    names = names_of(env_id, env.action_space)
    expert = make_expert(env_id.replace("-v4", "-v5"), "100") if "-v5" in env_id or "Cart" in env_id else None
    if expert is None:
        pytest.skip("experts are shipped for -v5")
    arguments = {**presets.feedback("PPO"), "alpha": 0.0}
    env = FeedbackWrapper(env, SpeakingTeacher(expert, names))
    model = PPO(env=env, interpreter=RuleInterpreter(names), seed=1, device="cpu", **arguments).learn(2500)
    test_env, total = gym.make(env_id), 0.0
    for seed in range(3):
        observation, _ = test_env.reset(seed=seed)
        done = False
        while not done:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = test_env.step(action)
            total, done = total + reward, terminated or truncated
    assert total / 3 > 400


def test_words_leave_the_spread_alone():
    # Labels from words are modes: a Gaussian's spread stays where it is.
    env = ToyEnv("box")
    model = make(PPO, FeedbackWrapper(env, lambda t: Feedback(text="First: go up.")),
                 interpreter=RuleInterpreter(env.action_space), alpha=0.0, learning_rate=0.01)  # fmt: skip
    before = model.policy.log_std.detach().clone()
    model.learn(64)
    assert th.allclose(model.policy.log_std, before)
