"""What a user can get wrong, and that each learner says which environment, which step, what came and what was expected."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from nlf_sb3 import (
    A2C,
    PPO,
    REINFORCE,
    Demonstrations,
    ExpertSegment,
    Feedback,
    FeedbackError,
    FeedbackWrapper,
    Imitation,
    MissingExtraError,
    TrajectoryInjection,
)
from nlf_sb3.errors import require
from nlf_sb3.teachers import CallableExpert, Expert, ExpertTeacher, PolicyExpert, ScoreTeacher, TextTeacher

ALGORITHMS = {
    "PPO": (PPO, {"n_steps": 8, "batch_size": 8, "n_epochs": 1}),
    "A2C": (A2C, {"n_steps": 8}),
    "REINFORCE": (REINFORCE, {"n_episodes": 2}),
}
VEC_ENVS = {"dummy": DummyVecEnv, "subproc": lambda fns: SubprocVecEnv(fns, start_method="fork")}
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
every_vec_env = pytest.mark.parametrize("vec_env", VEC_ENVS)


def line(**kwargs):
    return gym.make("Line-v0", **kwargs)


def learner(algorithm, env, policy="MlpPolicy", **kwargs):
    algorithm_class, sizes = ALGORITHMS[algorithm]
    return algorithm_class(policy, env, seed=0, **sizes, **kwargs)


def two_environments(vec_env, teacher, **kwargs):
    """The second of two environments has the teacher; the first has one with nothing to hide."""
    good = ScoreTeacher(lambda t: 1.0)
    return VEC_ENVS[vec_env]([lambda: FeedbackWrapper(line(**kwargs), good), lambda: FeedbackWrapper(line(**kwargs), teacher)])


def at_step(step, feedback):
    """A teacher that is silent until a step of its first episode."""
    seen = []

    def teacher(t):
        seen.append(t)
        if len(seen) == step + 1:
            return feedback(t) if callable(feedback) else feedback
        return None

    return teacher


def refused(model, steps=32):
    """The message of the FeedbackError that learn() raises."""
    with pytest.raises(FeedbackError) as caught:
        model.learn(steps)
    model.get_env().close()
    return str(caught.value)


# --- experts as teachers ------------------------------------------------------------------------------


class _NotPicklable(Exception):
    """What a worker process can't send to its parent."""

    def __init__(self):
        super().__init__("the expert fell asleep")
        self.reason = lambda: None


def raises(observations):
    raise _NotPicklable


BAD_EXPERTS = {
    "raises": (raises, ["_NotPicklable", "the expert fell asleep"]),
    "returns None": (lambda o: None, ["got None for 1 observation, expected 1 row"]),
    "returns no rows": (lambda o: np.zeros((0, 1), np.float32), ["got 0 rows for 1 observation, expected 1 row"]),
    "returns another shape": (lambda o: np.zeros((1, 3), np.float32), ["got shape (3,), expected (1,) for Box"]),
    "returns complex numbers": (lambda o: np.zeros((1, 1), complex), ["got complex numbers", "expected floats for Box"]),
    "returns booleans": (lambda o: np.zeros((1, 1), bool), ["got booleans", "expected floats for Box"]),
    "returns text": (lambda o: np.array([["left"]]), ["expert_action: got", "left", "expected numbers of the action space"]),
    "returns NaN": (
        lambda o: np.full((1, 1), np.nan, np.float32),
        ["[nan], which is not finite", "expected numbers inside Box"],
    ),
    "leaves the space": (lambda o: np.full((1, 1), 1.5, np.float32), ["[1.5], outside Box", "Clip or rescale it"]),
}


@every_algorithm
@every_vec_env
@pytest.mark.parametrize("name", BAD_EXPERTS)
def test_a_teacher_s_expert_that_fails_is_an_error_with_environment_step_and_mend(algorithm, vec_env, name):
    act, parts = BAD_EXPERTS[name]
    env = two_environments(vec_env, at_step(2, lambda t: ExpertTeacher(act)(t)), action="box")
    message = refused(learner(algorithm, env))
    # The third step of two environments: six steps in SB3's count.
    assert message.startswith("environment 1, step 6: ")
    assert all(part in message for part in parts)


@every_vec_env
@pytest.mark.parametrize(
    ("action", "label", "parts"),
    [
        ("discrete", 1.0, ["got floats", "expected integers for Discrete(2)", "Round or index it yourself"]),
        ("discrete", True, ["got booleans", "expected integers for Discrete(2)"]),
        ("discrete", 2, ["row 0 is 2, outside Discrete(2)"]),
        ("discrete", 2**63, ["does not fit into int64"]),
        ("discrete", [1], ["got shape (1,), expected () for Discrete"]),
        ("discrete", "left", ["expert_action: got", "'left'", "expected numbers"]),
        ("multi_discrete", [0, 2], ["outside MultiDiscrete([2 2])"]),
        ("multi_discrete", [0.0, 1.0], ["got floats", "expected integers"]),
        ("multi_discrete", [0, 1, 1], ["got shape (3,), expected (2,)"]),
        ("multi_binary", [0, 2], ["outside MultiBinary(2)"]),
        ("multi_binary", [0, 256], ["does not fit into int8"]),
    ],
)
def test_a_label_of_the_wrong_kind_or_outside_the_space_is_an_error(vec_env, action, label, parts):
    if isinstance(label, int) and label == 2**63:
        label = np.uint64(label)
    teacher = at_step(2, lambda t: Feedback(expert_action=label))
    message = refused(learner("PPO", two_environments(vec_env, teacher, action=action)))
    assert message.startswith("environment 1, step 6: ")
    assert all(part in message for part in parts)


@every_algorithm
@every_vec_env
@pytest.mark.parametrize(
    ("teacher", "parts"),
    [
        (ScoreTeacher(lambda t: np.nan), ["score: got nan", "expected a finite number", "Leave it None"]),
        (ScoreTeacher(lambda t: -np.inf), ["score: got -inf", "expected a finite number"]),
        (ScoreTeacher(lambda t: "bad"), ["score: got 'bad' (str)", "expected a finite number such as 0 or 0.5"]),
        (TextTeacher(lambda t: b"bad"), ["text: got b'bad' (bytes)", "expected a str or None", "Decode or join it"]),
        (lambda t: "bad", ["got str, expected Feedback(score, text, expert_action, ...) or None"]),
        ([ScoreTeacher(lambda t: 1), ScoreTeacher(lambda t: 1)], ["Two teachers filled score of one step"]),
    ],
    ids=["NaN score", "infinite score", "text as score", "bytes as text", "no feedback", "two scores"],
)
def test_a_bad_score_text_or_answer_is_an_error_with_environment_and_step(algorithm, vec_env, teacher, parts):
    message = refused(learner(algorithm, two_environments(vec_env, teacher)))
    assert message.startswith("environment 1, step 2: teacher, episode step 0")
    assert all(part in message for part in parts)


@every_algorithm
def test_a_list_of_records_in_the_info_is_refused(algorithm):
    class Puts(gym.Wrapper):
        def step(self, action):
            *result, info = super().step(action)
            return *result, info | {"feedback": [Feedback(score=1.0)]}

    message = refused(learner(algorithm, Puts(line())))
    assert message.startswith("environment 0, step 1: info['feedback'] is list, expected nlf_sb3.Feedback")


def test_the_class_of_expert_segments_in_the_info_is_refused_too():
    class Puts(gym.Wrapper):
        def step(self, action):
            *result, info = super().step(action)
            return *result, info | {"expert_segment": ExpertSegment}

    message = refused(learner("PPO", Puts(line())))
    assert message.startswith("environment 0, step 1: info['expert_segment'] is type, expected nlf_sb3.ExpertSegment")


# --- experts of the algorithm -----------------------------------------------------------------------------


ROLLOUT_EXPERTS = {
    "raises": (raises, ["it raised _NotPicklable: the expert fell asleep"]),
    "returns None": (lambda o: None, ["got None, expected", "one row for each observation"]),
    "too few rows": (lambda o: np.zeros((len(o) - 1, 1), np.float32), ["got shape", "expected", "for Box"]),
    "another shape": (lambda o: np.zeros(len(o), np.float32), ["got shape", "expected", "for Box"]),
    "booleans": (lambda o: np.zeros((len(o), 1), bool), ["got booleans", "expected floats for Box"]),
    "complex numbers": (lambda o: np.zeros((len(o), 1), complex), ["got complex numbers", "expected floats for Box"]),
    "text": (lambda o: np.full((len(o), 1), "left"), ["'left'", "expected numbers of Box"]),
    "NaN": (
        lambda o: np.where(np.arange(len(o)) == 5, np.nan, 0.0)[:, None],
        ["the action for environment 0, rollout step 5, is [nan], which is not finite"],
    ),
    "outside": (
        lambda o: np.where(np.arange(len(o)) == 5, -2.0, 0.0)[:, None],
        ["the action for environment 0, rollout step 5, is [-2.], outside Box"],
    ),
}


@every_algorithm
@pytest.mark.parametrize("name", ROLLOUT_EXPERTS)
def test_the_learner_s_own_expert_that_fails_is_an_error_with_expert_step_and_mend(algorithm, name):
    act, parts = ROLLOUT_EXPERTS[name]
    model = learner(algorithm, DummyVecEnv([lambda: line(action="box")] * 2), expert=act)
    message = refused(model)
    assert message.startswith(f"expert CallableExpert, step {model.num_timesteps}: ")
    assert all(part in message for part in parts)


def test_the_original_exception_is_kept_as_the_cause():
    with pytest.raises(FeedbackError) as caught:
        learner("PPO", line(action="box"), expert=raises).learn(8)
    assert isinstance(caught.value.__cause__, _NotPicklable)


@pytest.mark.parametrize("expert", ["expert.zip", 3])
@every_algorithm
def test_what_is_no_expert_is_refused_at_construction(algorithm, expert):
    with pytest.raises(FeedbackError, match=r"expert: got (str|int), expected an Expert, .*PolicyExpert\.load"):
        learner(algorithm, line(), expert=expert)


# --- skipping instead --------------------------------------------------------------------------------------


def count_starts(model, log_interval):
    """Learns, and counts the first steps of episodes in the second environment."""
    starts = []
    model.learn(64, lambda local, _: starts.append(local["self"]._last_episode_starts[1]) or True, log_interval)
    return sum(map(bool, starts))


@every_algorithm
@pytest.mark.parametrize(("vec_env", "name"), [*(("dummy", name) for name in BAD_EXPERTS), ("subproc", "raises")])
def test_on_error_skip_counts_each_bad_label_and_goes_on(algorithm, vec_env, name, logged):
    act, _ = BAD_EXPERTS[name]

    def teacher(t):
        return ExpertTeacher(act)(t) if t.step == 0 else None

    env = two_environments(vec_env, teacher, action="box")
    model = learner(algorithm, env, on_error="skip")
    values = logged(model)
    starts = count_starts(model, log_interval=1)
    env.close()
    # Counted for each rollout, or from the start.
    assert starts in (sum(values("feedback/skipped")), values("feedback/skipped")[-1])
    assert starts > 1


@every_algorithm
def test_skips_of_all_rollouts_between_two_logs_are_counted(algorithm, logged):
    env = two_environments("dummy", ScoreTeacher(lambda t: np.nan if t.step == 0 else 0.5))
    model = learner(algorithm, env, on_error="skip")
    values = logged(model)
    assert [count_starts(model, log_interval=100)] == values("feedback/skipped")


@every_algorithm
def test_on_error_skip_keeps_the_good_feedback(algorithm, logged):
    env = two_environments("dummy", ScoreTeacher(lambda t: np.nan if t.step else 0.5))
    model = learner(algorithm, env, on_error="skip")
    values = logged(model)
    model.learn(8)
    assert sum(values("feedback/skipped")) > 0
    assert all(0.5 < score < 1.0 for score in values("feedback/score_mean"))


@every_algorithm
def test_on_error_skip_without_errors_logs_no_skips(algorithm, logged):
    model = learner(algorithm, two_environments("dummy", ScoreTeacher(lambda t: 0.5)), on_error="skip")
    values = logged(model)
    model.learn(8)
    assert values("feedback/skipped") == []
    assert values("feedback/score_mean")


@every_algorithm
@pytest.mark.parametrize("name", ROLLOUT_EXPERTS)
def test_on_error_skip_counts_a_failing_expert_of_the_learner_and_trains_without_it(algorithm, name, logged):
    act, _ = ROLLOUT_EXPERTS[name]
    model = learner(algorithm, line(action="box"), expert=act, on_error="skip")
    values = logged(model)
    model.learn(8)
    assert values("feedback/skipped") == [1]
    plain = learner(algorithm, line(action="box")).learn(8)
    for ours, theirs in zip(model.policy.parameters(), plain.policy.parameters(), strict=True):
        assert np.array_equal(ours.detach().numpy(), theirs.detach().numpy())


# --- settings that don't fit together -----------------------------------------------------------------------


@every_algorithm
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"imitation": "mse"}, r"imitation: got 'mse', expected 'nll', 'kl' or an nlf_sb3.Imitation, such as Imitation\("),
        ({"injection": "all"}, r"injection: got 'all', expected 'bounded', 'plain', 'separate' or an nlf_sb3.Injection, such"),
        ({"injection": Imitation()}, r"injection: got Imitation\(.*expected .* or an nlf_sb3.Injection"),
        ({"on_error": "ignore"}, "on_error: got 'ignore', expected 'raise' or 'skip'"),
        ({"auxiliary_losses": [0.5]}, r"auxiliary_losses: got \[0.5\], expected a list of losses such as"),
    ],
)
def test_unknown_choices_are_refused_at_construction(algorithm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        learner(algorithm, line(), **kwargs)


@every_algorithm
def test_the_analytic_kl_needs_an_expert(algorithm):
    with pytest.raises(FeedbackError, match=r"imitation='kl' needs expert=, .*Pass one, or use imitation='nll'"):
        learner(algorithm, line(), imitation="kl").learn(8)


def _stochastic_expert():
    return PolicyExpert(sb3.A2C("MlpPolicy", line(), seed=0))


class _SaysSample(Expert):
    """Samples, without a distribution to show."""

    label = "sample"

    def act(self, observations):
        return np.zeros(len(observations), int)


class _LosesItsDistribution(_SaysSample):
    def distribution(self, observations):
        return None


@every_algorithm
@pytest.mark.parametrize(
    "expert",
    [
        lambda: CallableExpert(lambda o: np.zeros(len(o), int)),
        lambda: CallableExpert(lambda o: np.zeros(len(o), int), "sample"),
        _SaysSample,
        lambda: PolicyExpert(_stochastic_expert().policy, deterministic=True),
        lambda: PolicyExpert(sb3.DQN("MlpPolicy", line(), buffer_size=10)),
    ],
    ids=["function", "sampling function", "sampling expert", "deterministic policy", "DQN"],
)
def test_the_analytic_kl_refuses_an_expert_without_a_distribution_at_construction(algorithm, expert):
    with pytest.raises(FeedbackError, match=r"imitation='kl' needs an expert with a distribution, and .* has none.*'nll'"):
        learner(algorithm, line(), imitation="kl", expert=expert())


@every_algorithm
def test_the_analytic_kl_refuses_an_expert_that_turns_out_to_have_no_distribution(algorithm):
    message = refused(learner(algorithm, line(), imitation="kl", expert=_LosesItsDistribution()))
    assert "expert _LosesItsDistribution, step" in message
    assert "Use imitation='nll'" in message


@every_algorithm
def test_the_analytic_kl_refuses_an_expert_of_another_family(algorithm):
    gaussian = PolicyExpert(sb3.A2C("MlpPolicy", line(action="box"), seed=0))

    class ActsOtherwise(Expert):
        label = "sample"

        def act(self, observations):
            return np.zeros(len(observations), int)

        def distribution(self, observations):
            return gaussian.distribution(observations)

    expert = ActsOtherwise()
    with pytest.raises(FeedbackError, match=r"analytic KL can't compare .*DiagGaussian.*Categorical.*imitation=\"nll\""):
        learner(algorithm, line(), imitation="kl", expert=expert).learn(8)


@every_algorithm
@every_vec_env
def test_the_analytic_kl_refuses_labels_that_are_a_mode(algorithm, vec_env):
    teacher = at_step(2, Feedback(expert_action=1, label="mode"))
    model = learner(algorithm, two_environments(vec_env, teacher), imitation="kl", expert=_stochastic_expert())
    message = refused(model)
    assert message.startswith("environment 1, step 6: a label that is a mode has no analytic KL")
    assert "imitation='nll' or an expert that samples" in message


# --- demonstrations -----------------------------------------------------------------------------------------


def test_demonstrations_of_unequal_length_are_refused_with_all_lengths():
    with pytest.raises(FeedbackError, match=r"'observations': 3.*'actions': 2.*'weights': 2.*one equal number above 0"):
        Demonstrations(np.zeros((3, 3)), np.zeros(2, int))


def test_no_demonstrations_at_all_are_refused():
    with pytest.raises(FeedbackError, match="above 0"):
        Demonstrations(np.zeros((0, 3)), np.zeros(0, int))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan], [np.inf, 1.0], [[1.0], [1.0]]])
def test_demonstrations_with_bad_weights_are_refused(weights):
    with pytest.raises(FeedbackError, match="weights must be one finite number of at least 0 for each row"):
        Demonstrations(np.zeros((2, 3)), np.zeros(2, int), np.array(weights))


def test_demonstrations_with_an_unknown_label_are_refused():
    with pytest.raises(FeedbackError, match="label: got 'mean', expected 'sample' or 'mode'"):
        Demonstrations(np.zeros((2, 3)), np.zeros(2, int), label="mean")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("as_dict", [False, True])
def test_demonstrations_that_aren_t_finite_are_refused_with_their_first_row(value, as_dict):
    observations = np.zeros((5, 2, 2), np.float32)
    observations[[2, 4], 1, 0] = value
    name = r"\['grid'\]" if as_dict else ""
    with pytest.raises(FeedbackError, match=rf"observations{name}: row 2 holds NaN or infinity \(2 of 5 rows"):
        Demonstrations({"count": np.arange(5), "grid": observations} if as_dict else observations, np.zeros(5, int))


@every_algorithm
@pytest.mark.parametrize(
    "given", ["rows.npz", (np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32))], ids=["file", "pair"]
)
def test_what_are_no_demonstrations_is_refused_at_construction(algorithm, given):
    with pytest.raises(FeedbackError, match=r"demonstrations: got (str|tuple), expected Demonstrations.*Demonstrations\.load"):
        learner(algorithm, line(), demonstrations=given)


BAD_DEMONSTRATIONS = {
    "observation shape": (np.zeros((2, 4)), np.zeros(2, int), r"(2, 4)"),
    "dict observations": ({"a": np.zeros((2, 3))}, np.zeros(2, int), "dict"),
    "floats for Discrete": (np.zeros((2, 3)), np.zeros(2), "got floats"),
    "outside the space": (np.zeros((2, 3)), np.array([0, 7]), "outside Discrete(2)"),
    "action shape": (np.zeros((2, 3)), np.zeros((2, 1), int), "got shape (2, 1), expected (2,)"),
}


@every_algorithm
@pytest.mark.parametrize("name", BAD_DEMONSTRATIONS)
def test_demonstrations_that_don_t_fit_the_environment_are_a_feedback_error(algorithm, name):
    observations, actions, part = BAD_DEMONSTRATIONS[name]
    with pytest.raises(FeedbackError, match="demonstrations: ") as caught:
        learner(algorithm, line(), demonstrations=Demonstrations(observations, actions)).learn(8)
    assert part in str(caught.value)


def test_demonstrations_given_as_lists_train_or_are_refused_clearly():
    try:
        demonstrations = Demonstrations([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [0, 1])
        model = learner("PPO", line(), demonstrations=demonstrations).learn(8)
    except FeedbackError:
        return
    assert model.num_timesteps == 8


# --- injection ------------------------------------------------------------------------------------------------


def test_a_twin_that_diverges_reaches_the_learner():
    env = DummyVecEnv([line, lambda: TrajectoryInjection(line(hidden_randomness=True), lambda o: [1], 1.0)])
    message = refused(learner("PPO", env))
    assert message.startswith("environment 1, step ")
    assert "trajectory injection, fork step 0" in message
    assert "the twin left the agent's trajectory" in message


@every_algorithm
@every_vec_env
def test_a_diverging_twin_in_any_learner_names_its_environment(algorithm, vec_env):
    fns = [
        lambda hidden=hidden: TrajectoryInjection(line(hidden_randomness=hidden), lambda o: [1], 0.9)
        for hidden in (False, True)
    ]
    message = refused(learner(algorithm, VEC_ENVS[vec_env](fns)), steps=64)
    assert message.startswith("environment 1, step ")
    assert "the twin left the agent's trajectory" in message
    assert "deterministic for a given reset seed, or pass twin=" in message


@every_algorithm
@every_vec_env
@pytest.mark.parametrize(
    ("act", "part"),
    [
        (raises, "the expert fell asleep"),
        (lambda o: None, "got None, expected 1 action"),
        (lambda o: np.array([2]), "outside Discrete(2)"),
        (lambda o: np.array([0.0]), "got floats"),
    ],
    ids=["raises", "None", "outside", "floats"],
)
def test_an_injected_expert_that_fails_reaches_the_learner(algorithm, vec_env, act, part):
    fns = [lambda f=f: TrajectoryInjection(line(), f, 0.9) for f in (lambda o: np.array([1]), act)]
    message = refused(learner(algorithm, VEC_ENVS[vec_env](fns)), steps=64)
    assert message.startswith("environment 1, step ")
    assert part in message
    assert "trajectory injection, fork step" in message


def test_on_error_skip_counts_injected_episodes_that_failed(logged):
    env = TrajectoryInjection(line(), raises, 1.0)
    model = learner("REINFORCE", env, on_error="skip")
    values = logged(model)
    model.learn(6)
    assert values("feedback/skipped") == [2]
    assert values("injection/segments") == []


# --- late feedback and missing parts ----------------------------------------------------------------------------


@every_algorithm
def test_feedback_about_steps_that_are_gone_is_counted_as_late(algorithm, logged):
    model = learner(algorithm, FeedbackWrapper(line(), lambda t: Feedback(expert_action=1, steps_ago=500)))
    values = logged(model)
    model.learn(6)
    assert sum(values("feedback/late")) >= 6


@pytest.mark.parametrize("module", ["a_module_that_is_not_there", "a_module_that_is_not_there.part", "nlf_sb3.no_such_part"])
def test_a_missing_extra_says_what_needs_it_and_how_to_install_it(module):
    with pytest.raises(
        MissingExtraError, match=r'The reporter needs \w+, .*not installed.*pip install "nlf-sb3\[plots\]"'
    ) as caught:
        require(module, "plots", "The reporter")
    assert module.split(".")[0] in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_a_present_module_is_returned():
    assert require("json.decoder", "none", "The test").JSONDecoder


def test_errors_are_of_types_that_callers_of_sb3_expect():
    assert issubclass(FeedbackError, ValueError)
    assert issubclass(MissingExtraError, ImportError)


# --- and everything that is right raises nothing ------------------------------------------------------------------


@every_algorithm
@every_vec_env
@pytest.mark.parametrize("action", ["box", "discrete", "multi_discrete", "multi_binary"])
@pytest.mark.parametrize("dict_observation", [False, True])
def test_good_feedback_trains_on_every_kind_of_space(algorithm, vec_env, action, dict_observation, logged):
    env = line(action=action, dict_observation=dict_observation)
    shape, dtype = env.action_space.shape, env.action_space.dtype
    teachers = [
        ExpertTeacher(lambda o: np.ones((1, *shape), dtype), probability=0.5),
        ScoreTeacher(lambda t: 0.5),
        TextTeacher(lambda t: "further", "fp"),
    ]
    env = two_environments(vec_env, teachers, action=action, dict_observation=dict_observation)
    env = VecNormalize(env, norm_obs=not dict_observation)
    model = learner(algorithm, env, "MultiInputPolicy" if dict_observation else "MlpPolicy")
    values = logged(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(16)
    env.close()
    assert all(np.isfinite(values("train/imitation_loss")))
    assert len(values("train/imitation_loss")) >= 1
    assert all(0 < rate <= 1 for rate in values("feedback/rate"))
    assert all(0 < rate < 1 for rate in values("feedback/text_rate"))


def test_a_score_can_t_pay_the_agent_alone():
    injected = TrajectoryInjection(gym.make("Line-v0"), CallableExpert(lambda obs: np.zeros((len(obs), 1), np.float32)))
    with pytest.raises(FeedbackError, match="Put the FeedbackWrapper inside"):
        FeedbackWrapper(injected, ScoreTeacher(lambda _: 1.0), score_as_reward="replace")


def test_so_it_would_around_a_subclass_that_keeps_its_mode_elsewhere():
    class Logged(TrajectoryInjection):
        @property
        def injection_mode(self):
            return self.modes[-1]

        @injection_mode.setter
        def injection_mode(self, mode):
            self.modes = [mode]

    injected = Logged(gym.make("Line-v0"), CallableExpert(lambda obs: np.zeros((len(obs), 1), np.float32)))
    with pytest.raises(FeedbackError, match="Put the FeedbackWrapper inside"):
        FeedbackWrapper(injected, ScoreTeacher(lambda _: 1.0), score_as_reward="replace")


def test_demonstrations_in_the_place_of_an_expert_say_where_they_go():
    rows = Demonstrations(np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(FeedbackError, match="demonstrations="):
        PPO("MlpPolicy", gym.make("Line-v0"), expert=rows)


def test_a_function_written_for_one_observation_is_told_of_batches():
    model = learner("PPO", line(action="box"), expert=lambda observation: np.array([float(observation)]))
    with pytest.raises(FeedbackError, match="batched=False"):
        model.learn(8)


@pytest.mark.parametrize(
    ("act", "is_told"),
    [
        (lambda o: np.zeros(1, np.float32), True),
        (lambda o: [[0.0], [0.0, 0.0]], True),
        (raises, True),
        (lambda o: np.full((len(o), 1), np.nan, np.float32), False),
        (lambda o: np.full((len(o), 1), 7.0, np.float32), False),
        (lambda o: np.zeros((len(o), 1), bool), False),
    ],
    ids=["one row", "ragged", "raises", "NaN", "outside", "booleans"],
)
def test_only_mistakes_that_look_like_one_observation_are_told_of_batches(act, is_told):
    assert ("batched=False" in refused(learner("PPO", line(action="box"), expert=act))) == is_told
