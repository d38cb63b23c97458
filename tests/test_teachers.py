"""Teachers: what each says about a transition, and how several speak as one."""

import gymnasium as gym
import numpy as np
import pytest

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper
from nlf_sb3.teachers import (
    BudgetTeacher,
    CallableExpert,
    CombinedTeacher,
    Expert,
    ExpertTeacher,
    ScoreTeacher,
    TextTeacher,
    Transition,
)
from nlf_sb3.teachers.teachers import as_teacher, check_feedback, seed_teacher


def transition(step=0, observation=(0.5, 1.0), action=0, reward=1.0):
    observation = np.array(observation, np.float32)
    return Transition(observation, action, reward, observation + 1, False, False, {}, step)


class NoisyExpert(Expert):
    """Draws every action from a generator of its own."""

    label = "sample"

    def __init__(self):
        self.seed(0)

    def seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def act(self, observations):
        return self.rng.normal(size=(len(observations), 1))


def test_score_teacher_gives_the_function_s_score_and_nothing_else():
    teacher = ScoreTeacher(lambda t: t.reward + t.next_observation[0] - t.observation[0])
    assert teacher(transition(reward=2.0)) == Feedback(score=3.0)


def test_text_teacher_says_what_the_function_says_with_its_kind():
    teacher = TextTeacher(lambda t: f"step {t.step}", text_kind="hn")
    assert teacher(transition(step=4)) == Feedback(text="step 4", text_kind="hn")


@pytest.mark.parametrize("teacher", [ScoreTeacher(lambda t: None), TextTeacher(lambda t: None, "r")])
def test_none_is_silence(teacher):
    assert teacher(transition()) is None


@pytest.mark.parametrize("text", ["", "good"])
def test_an_empty_text_is_still_said(text):
    assert TextTeacher(lambda t: text)(transition()).text == text


def test_score_0_is_a_score():
    assert ScoreTeacher(lambda t: 0)(transition()) == Feedback(score=0)


def test_expert_teacher_labels_the_state_acted_in():
    feedback = ExpertTeacher(lambda observations: observations * 2, weight=0.5)(transition(observation=(3.0, 4.0)))
    assert feedback == Feedback(expert_action=[6.0, 8.0], label="mode", weight=0.5)


def test_expert_teacher_asks_with_a_batch_of_one_row_also_for_dict_observations():
    seen = []

    def act(observations):
        seen.append({key: value.shape for key, value in observations.items()})
        return observations["a"]

    observation = {"a": np.ones(2), "b": np.ones((3, 1))}
    feedback = ExpertTeacher(act)(Transition(observation, 0, 0.0, observation, False, False, {}, 0))
    assert seen == [{"a": (1, 2), "b": (1, 3, 1)}]
    assert feedback.expert_action.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("given", "expert", "expected"),
    [
        (None, CallableExpert(lambda o: o, "sample"), "sample"),
        (None, CallableExpert(lambda o: o, "mode"), "mode"),
        (None, lambda o: o, "mode"),
        ("sample", lambda o: o, "sample"),
        ("mode", CallableExpert(lambda o: o, "sample"), "mode"),
    ],
)
def test_the_label_is_the_expert_s_unless_it_is_overridden(given, expert, expected):
    assert ExpertTeacher(expert, label=given)(transition()).label == expected


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_share_of_labelled_steps_is_the_probability(probability):
    teacher = ExpertTeacher(lambda o: o, probability=probability)
    n = 4000
    labelled = sum(teacher(transition()) is not None for _ in range(n))
    assert abs(labelled / n - probability) <= 4 * np.sqrt(probability * (1 - probability) / n)


@pytest.mark.parametrize("probability", [-0.1, 1.1, np.nan])
def test_a_probability_outside_zero_to_one_is_refused(probability):
    with pytest.raises(ValueError, match=r"probability: got .*expected a number in \[0, 1\]"):
        ExpertTeacher(lambda o: o, probability=probability)


def test_the_same_seed_gives_the_same_labels_and_another_seed_others():
    def labels(seed):
        teacher = ExpertTeacher(NoisyExpert(), probability=0.5)
        teacher.seed(seed)
        answers = [teacher(transition()) for _ in range(40)]
        return [None if answer is None else answer.expert_action.item() for answer in answers]

    assert labels(3) == labels(3)
    assert labels(3) != labels(4)


@pytest.mark.parametrize(
    ("answer", "came"),
    [(None, "None"), (np.zeros((0, 1)), "0 rows"), (np.zeros((2, 1)), "2 rows"), ([], "0 rows")],
)
def test_an_expert_that_answers_with_another_number_of_rows_is_named_with_what_came(answer, came):
    with pytest.raises(FeedbackError, match=rf"expert: got {came} for 1 observation, expected 1 row \[1, \*action_shape\]"):
        ExpertTeacher(lambda observations: answer)(transition())


def test_teachers_together_fill_one_record():
    teacher = CombinedTeacher(
        [
            ScoreTeacher(lambda t: 0.5),
            TextTeacher(lambda t: "more", text_kind="fp"),
            ExpertTeacher(lambda o: o, weight=3.0, label="sample"),
        ]
    )
    assert teacher(transition()) == Feedback(0.5, "more", np.float32([0.5, 1.0]), text_kind="fp", label="sample", weight=3.0)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_teachers_with_different_channels_does_not_matter(order):
    teachers = [
        ExpertTeacher(lambda o: o, weight=2.0, label="sample"),
        TextTeacher(lambda t: "x", "hp"),
        ScoreTeacher(lambda t: 1),
    ]
    expected = Feedback(1, "x", np.float32([0.5, 1.0]), text_kind="hp", label="sample", weight=2.0)
    assert CombinedTeacher(teachers[::order])(transition()) == expected


def test_together_they_are_silent_where_all_are_silent():
    assert CombinedTeacher([lambda t: None, lambda t: None])(transition()) is None


def test_two_teachers_may_share_a_channel_by_taking_turns():
    teacher = CombinedTeacher(
        [lambda t: Feedback(score=1) if t.step % 2 else None, lambda t: None if t.step % 2 else Feedback(score=2)]
    )
    assert [teacher(transition(step=step)).score for step in range(4)] == [2, 1, 2, 1]


@pytest.mark.parametrize("channel", [{"score": 1.0}, {"text": "x"}, {"expert_action": [1.0]}])
def test_two_teachers_that_fill_one_channel_of_a_step_are_an_error(channel):
    teacher = CombinedTeacher([lambda t: Feedback(**channel), lambda t: Feedback(**channel)])
    with pytest.raises(FeedbackError, match=f"Two teachers filled {next(iter(channel))} of one step.*one of them return None"):
        teacher(transition())


def test_two_teachers_that_speak_of_different_steps_are_an_error():
    teacher = CombinedTeacher([lambda t: Feedback(score=1, steps_ago=2), lambda t: Feedback(text="x")])
    with pytest.raises(FeedbackError, match=r"different steps \(steps_ago 2 and 0\).*the same one"):
        teacher(transition())


def test_seeding_a_combination_gives_every_teacher_another_stream():
    experts = [ExpertTeacher(NoisyExpert()), ExpertTeacher(NoisyExpert())]
    combined = CombinedTeacher(experts)

    def draws(seed):
        combined.seed(seed)
        return [teacher(transition()).expert_action.item() for teacher in experts]

    first, second = draws(1), draws(1)
    assert first == second
    assert first[0] != first[1]
    assert draws(2) != first


@pytest.mark.parametrize("seed", [None, 0, 2**31 - 1])
def test_teachers_without_a_seed_method_can_be_seeded_too(seed):
    seed_teacher(CombinedTeacher([lambda t: None, ScoreTeacher(lambda t: 1), ExpertTeacher(NoisyExpert())]), seed)


@pytest.mark.parametrize("teachers", [3, "good", [lambda t: None, 3], NoisyExpert()])
def test_what_can_t_be_asked_is_no_teacher(teachers):
    with pytest.raises(FeedbackError, match=r"teacher: got .*expected a function from a Transition.*ExpertTeacher\(expert\)"):
        as_teacher(teachers)


@pytest.mark.parametrize("answer", [1.0, "good", {"score": 1}, (1.0, "good"), np.zeros(1)])
def test_an_answer_that_is_no_feedback_names_the_teacher_and_what_it_returned(answer):
    def strict_user(t):
        return answer

    with pytest.raises(FeedbackError, match=f"teacher strict_user: got {type(answer).__name__}, expected Feedback"):
        check_feedback(strict_user(None), strict_user)
    with pytest.raises(FeedbackError, match="teacher strict_user"):
        CombinedTeacher([strict_user])(transition())


@pytest.mark.parametrize(
    ("teacher", "field"),
    [
        (ScoreTeacher(lambda t: float("nan")), "score"),
        (ScoreTeacher(lambda t: "bad"), "score"),
        (TextTeacher(lambda t: 3), "text"),
        (TextTeacher(lambda t: "x", text_kind="??"), "text_kind"),
        (ExpertTeacher(lambda o: o, weight=-1.0), "weight"),
        (ExpertTeacher(lambda o: o, label="mean"), "label"),
        (ExpertTeacher(lambda o: [["left"]]), "expert_action"),
    ],
)
def test_bad_feedback_is_an_error_that_names_the_field(teacher, field):
    with pytest.raises(FeedbackError, match=f"^{field}: got"):
        teacher(transition())


class Classroom:
    """A user's own teacher, whose attributes mean what they please."""

    teachers = 3

    def __init__(self):
        self.teacher = self

    def __call__(self, transition):
        return Feedback(score=1.0)


def test_names_of_ours_mean_nothing_in_a_user_s_own_teacher():
    env = FeedbackWrapper(
        gym.make("CartPole-v1"), [Classroom(), BudgetTeacher(ExpertTeacher(lambda rows: [0] * len(rows)), 5)]
    )
    assert env.nlf_sb3_labels_actions
    assert not FeedbackWrapper(gym.make("CartPole-v1"), Classroom()).nlf_sb3_labels_actions
    env.reset(seed=0)
    assert env.step(0)[4]["feedback"] == Feedback(score=1.0, expert_action=0, label="mode")


class OwnAttributes:
    """A user's teacher with attributes by any name."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __call__(self, transition):
        return Feedback(score=1.0)


@pytest.mark.parametrize("name", ["teacher", "teachers", "asked"])
def test_what_other_people_s_teachers_call_a_teacher_may_be_anything(name):
    for value in (3, None, lambda: 3, ExpertTeacher(lambda observations: [7])):
        env = FeedbackWrapper(gym.make("Line-v0"), OwnAttributes(**{name: value}))
        assert not env.nlf_sb3_labels_actions
    knot = OwnAttributes()
    setattr(knot, name, knot)
    env = FeedbackWrapper(gym.make("Line-v0"), knot)
    env.reset(seed=0)
    assert env.step(0)[4]["feedback"].score == 1.0


def test_the_experts_of_teachers_within_teachers_are_known():
    expert = ExpertTeacher(lambda observations: [0])
    together = [ScoreTeacher(lambda transition: 1.0), BudgetTeacher([BudgetTeacher(expert, 3)], 3)]
    assert FeedbackWrapper(gym.make("Line-v0"), together).nlf_sb3_labels_actions
    assert not FeedbackWrapper(gym.make("Line-v0"), BudgetTeacher(together[0], 3)).nlf_sb3_labels_actions
