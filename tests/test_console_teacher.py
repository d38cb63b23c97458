"""A person who types remarks, scores and actions through a stream; the echo of what is read, and the file of remarks."""

from __future__ import annotations

import io
import json
import re
import threading

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from nlf_sb3 import PPO, Feedback, FeedbackError, FeedbackWrapper
from nlf_sb3.appending import append_line
from nlf_sb3.language import ConsoleUser, Reply
from nlf_sb3.teachers import ConsoleTeacher, Transition
from nlf_sb3.text import ActionNames, Dimension, RuleInterpreter
from nlf_sb3.text.wording import describe_action

BOX = spaces.Box(-2, 2, (1,))
PUSH = [Dimension("push", low="left", high="right")]


def step(action=(0.0,), number=0, masks=None, observation=(0.0, 0.0)):
    return Transition(np.array(observation), np.array(action), 0.0, np.zeros(2), False, False, {}, number, masks)


def said(typed, space=BOX, transition=None, **options):
    """What a teacher makes of a typed text at the first step, and the screen."""
    out = io.StringIO()
    source = io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8") if isinstance(typed, bytes) else io.StringIO(typed)
    teacher = ConsoleTeacher(space, source=source, out=out, **options)
    return teacher(transition or step()), out.getvalue()


@pytest.mark.parametrize(
    "typed",
    [
        *("/skip inf", "/skip nan", "/skip -5", "/skip 0", "/skip 1.5", "/skip 1e400", "/skip", "/skip 1_0", "/skip 5 /quit"),
        *("/action inf", "/action nan", "/action 1e400", "/action 3", "/action 1 2", "/action", "/action 0,5", "/action 0x1"),
        *(
            "/score inf",
            "/score nan",
            "/score 1e999",
            "/score 1_000",
            "/score 0x1",
            "/score 0 left",
            "/score 0,5",
            "/score -",
            "/score 1e30",
        ),
        *("/score 0 /score 1", "/quit now", "/shrug", "/", "/scroe 0", "left /scroe 0", "left /scores 1"),
        *("left \ud800", "left\x00", "\x1b[D", "left\x9b", "left\rright", "x" * 20_001),
    ],
)
def test_what_cant_be_read_is_asked_again(typed):
    feedback, shown = said(f"{typed}\nright\n")
    assert feedback.text == "right"
    assert (feedback.score, feedback.expert_action) == (None, None)
    assert shown.count("feedback> ") == 2


@pytest.mark.parametrize(
    "text",
    [
        *("left/right is off", "either/or", "w/o a push", "50 km/h / too fast", "not left, but /right", "http://a.b/c"),
        *("a / b", "1/2", "too far/", "und/oder"),
    ],
)
def test_slashes_within_words_are_text(text):
    assert said(f"{text}\n")[0].text == text
    feedback, _ = said(f"{text} /SCORE .5\n")
    assert (feedback.text, feedback.score) == (text, 0.5)


@pytest.mark.parametrize("typed", ["\u200b", "\u2060\u00a0\u200b ", "\u2028", "\u200e\t"])
def test_a_line_of_what_nobody_sees_is_silence(typed, tmp_path):
    assert said(f"{typed}\n", path=tmp_path / "said.jsonl")[0] is None
    assert not (tmp_path / "said.jsonl").exists() or not (tmp_path / "said.jsonl").read_text()
    user = ConsoleUser(input_stream=io.StringIO(f"{typed}\n" * 3), output_stream=io.StringIO())
    assert user.answer([{"role": "user", "content": "q?"}], "a") == Reply()


def test_a_doubled_slash_at_the_beginning_is_one_in_the_text():
    assert said("//shrug, whatever\n")[0].text == "/shrug, whatever"
    assert "//shrug" in said("/shrug\n")[1]


@pytest.mark.parametrize(
    ("space", "typed", "action"),
    [
        (spaces.Discrete(3, start=5), "6", 6),
        (spaces.Discrete(3), "2.0", 2),
        (spaces.MultiDiscrete([3, 4]), "2, 3", [2, 3]),
        (spaces.MultiBinary(3), "[1 0 1]", [1, 0, 1]),
        (spaces.Box(0, 255, (2,), np.uint8), "7 255", [7, 255]),
        (spaces.Box(-2, 2, (2,), np.float64), "[-0.5, 1e-1]", [-0.5, 0.1]),
        (BOX, "\uff11\uff0e\uff15", [1.5]),  # full-width digits and full stop
        (BOX, "\N{MINUS SIGN}1", [-1.0]),
    ],
)
def test_actions_of_every_space(space, typed, action):
    feedback, _ = said(f"/action {typed}\n", space, step(space.sample()))
    assert feedback.expert_action.tolist() == pytest.approx(action)
    assert space.contains(feedback.expert_action if space.shape else feedback.expert_action[()])


@pytest.mark.parametrize(
    ("space", "typed"),
    [
        (spaces.Discrete(3, start=5), "4"),
        (spaces.Discrete(3), "99999999999999999999"),
        (spaces.Box(0, 255, (1,), np.uint8), "256"),
        (spaces.Box(0, 255, (1,), np.uint8), "1.5"),
        (spaces.MultiBinary(1), "2"),
    ],
)
def test_actions_outside_their_space_are_asked_again(space, typed):
    assert said(f"/action {typed}\nbetter\n", space, step(space.sample()))[0].text == "better"


@pytest.mark.parametrize("place", ["first", "middle", "last", "several"])
def test_bytes_that_are_no_text_cost_no_other_line(place):
    bad = "zu weit links \xfc\n".encode("latin-1")
    typed = {
        "first": bad + b"one\ntwo\n",
        "middle": b"one\n" + bad + b"two\n",
        "last": b"one\ntwo\n" + bad[:-1],
        "several": bad * 3 + b"one\n" + bad * 2 + b"two\n",
    }[place]
    source = io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8")
    teacher = ConsoleTeacher(BOX, source=source, out=io.StringIO())
    assert [feedback and feedback.text for feedback in (teacher(step()), teacher(step()), teacher(step()))] == [
        "one",
        "two",
        None,
    ]


def test_lines_that_the_program_has_read_ahead_are_not_lost():
    source = io.TextIOWrapper(io.BytesIO(b"my name\nup\ndown\n"), encoding="utf-8")
    assert source.readline() == "my name\n"
    teacher = ConsoleTeacher(BOX, source=source, out=io.StringIO())
    assert [teacher(step()).text, teacher(step()).text, teacher(step())] == ["up", "down", None]


def test_other_encodings_and_line_ends():
    for encoding in ("latin-1", "utf-16", "cp1252"):
        source = io.TextIOWrapper(io.BytesIO("zu weit für mich\r\n/score 1\r\n".encode(encoding)), encoding=encoding)
        teacher = ConsoleTeacher(BOX, source=source, out=io.StringIO())
        assert (teacher(step()).text, teacher(step()).score) == ("zu weit für mich", 1.0)
    assert said(b"\xef\xbb\xbf/score 1\n")[0].score == 1.0


def test_no_input_is_silence(monkeypatch):
    closed = io.StringIO("left\n")
    closed.close()
    assert ConsoleTeacher(BOX, source=closed, out=io.StringIO())(step()) is None
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stdout", None)
    assert ConsoleTeacher(BOX)(step()) is None
    broken = io.TextIOWrapper(io.BytesIO("left\n".encode("utf-16")[:-1] + b"\xd8"), encoding="utf-16")
    teacher = ConsoleTeacher(BOX, source=broken, out=io.StringIO())
    assert [teacher(step()) for _ in range(3)] == [None] * 3  # whatever its decoder does


@pytest.mark.parametrize(
    ("typed", "heard"),
    [
        (b"/skip inf\n/score 1\n", [Feedback(score=1.0)]),
        (b"/action inf\n/score 1\n", [Feedback(score=1.0)]),
        (b"zu weit links \xfc\n/score 1\n", [Feedback(score=1.0)]),  # no text of its encoding
        (b"left/right is off\n/skip 100000\n/score 1\n", [Feedback(text="left/right is off")]),
    ],
)
def test_a_training_goes_on_whatever_is_typed(typed, heard):
    env, given = gym.make("CartPole-v1"), []
    teacher = ConsoleTeacher(env.action_space, source=io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"), out=io.StringIO())

    def teach(transition):
        given.append(teacher(transition))
        return given[-1]

    PPO("MlpPolicy", FeedbackWrapper(env, teach), n_steps=16, batch_size=16, device="cpu").learn(16)
    assert len(given) == 16
    assert [feedback for feedback in given if feedback is not None] == heard


def test_what_was_done_and_what_a_remark_is_read_as_are_shown_by_name():
    names = ActionNames(BOX, PUSH)
    for options in ({"names": names}, {"interpreter": RuleInterpreter(names)}):
        _, shown = said("You should have gone right.\n", transition=step([-0.8]), **options)
        assert "action push left, 0.8 of 2" in shown
        assert re.search(r"read as: push more right, sure [01]\.\d\d; to learn: push ", shown)
    assert "read as: push more right, a little" in said("A bit more to the right.\n", names, step([-0.8]))[1]
    assert "read as: praise: the same again" in said("Well done!\n", names)[1]
    assert "read as: blame: this less often" in said("That was bad.\n", names)[1]
    assert "not understood: nothing is learnt from it" in said("Mix flour and butter.\n", names)[1]
    assert "read as" not in said("Go up.\n")[1]  # without names nothing is claimed


def test_what_cant_be_learnt_is_said():
    names = ActionNames(spaces.Discrete(2), PUSH)
    assert "there is no more of it: nothing is learnt" in said("Go right.\n", names, step(1))[1]
    masks = np.array([True, False])
    assert "forbids it here: nothing is learnt" in said("Go right.\n", names, step(0, masks=masks))[1]
    assert "; the action that you typed comes first" in said("Go right. /action 1\n", names, step(0))[1]


@pytest.mark.parametrize(
    ("space", "dimensions", "action", "shown"),
    [
        (spaces.Discrete(2), PUSH, 0, "push left"),
        (spaces.Discrete(3, start=4), PUSH, 5, "push neither left nor right"),
        (spaces.Discrete(5), PUSH, 1, "push left, 1 in 0 to 4"),
        (spaces.MultiDiscrete([2, 3]), None, [1, 1], "first up; second neither down nor up"),
        (spaces.Box(0, 4, (1,)), PUSH, [3.0], "push right, 1 of 2"),
        (spaces.Box(-np.inf, np.inf, (1,)), PUSH, [-7.5], "push left, 7.5"),
    ],
)
def test_actions_by_name(space, dimensions, action, shown):
    assert describe_action(ActionNames(space, dimensions), action) == shown


def test_of_many_dimensions_the_ones_furthest_from_the_middle_are_shown():
    action = np.zeros(30)
    action[20] = -1
    shown = describe_action(ActionNames(spaces.Box(-1, 1, (30,))), action)
    assert "number 21 down, 1 of 1" in shown
    assert shown.endswith("and 24 nearer the middle")


def test_each_remark_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "remarks.jsonl"
    names = ActionNames(BOX, PUSH)
    source = io.StringIO("¿Quién? 左\u2028\u202e\n\nGo right. /score 0\n/action 1\n")
    teacher = ConsoleTeacher(names, source=source, out=io.StringIO(), path=path)
    lines = []
    for number, episode_step in enumerate([0, 1, 2, 0]):
        teacher(step([-0.8], episode_step, observation=(np.nan, 1.0)))
        lines.append(len(path.read_bytes().splitlines()) if path.exists() else 0)
        assert lines[-1] == [1, 1, 2, 3][number]
    odd, remark, acted = map(json.loads, path.read_text("ascii").splitlines())
    assert (odd["text"], odd["reading"]["weight"]) == ("¿Quién? 左\u2028\u202e", 0.0)
    assert (remark["text"], remark["score"], remark["episode"], remark["step"]) == ("Go right.", 0.0, 0, 2)
    assert (remark["action"], remark["action_name"]) == ([-0.8], "push left, 0.8 of 2")
    assert remark["observation"] == ["nan", 1.0]
    assert remark["reading"]["directions"] == [1.0]
    assert remark["reading"]["target"][0] > -0.8
    assert remark["reading"]["weight"] == remark["reading"]["confidence"] > 0.5
    assert (acted["expert_action"], acted["reading"], acted["episode"]) == ([1.0], None, 1)


def test_large_and_nested_observations_fit_on_a_line(tmp_path):
    observation = {"image": np.zeros((64, 64, 3), np.uint8), "mission": "go \ud800", "place": (1, np.float32(2.0))}
    feedback = step()._replace(observation=observation)
    said("Go up.\n", transition=feedback, path=tmp_path / "remarks.jsonl")
    (line,) = (tmp_path / "remarks.jsonl").read_text("ascii").splitlines()
    kept = json.loads(line)["observation"]
    assert kept["image"] == {"shape": [64, 64, 3], "dtype": "uint8", "least": 0, "greatest": 0}
    assert (kept["mission"], kept["place"]) == ("go \ud800", [1, 2.0])


@pytest.mark.parametrize("make", [lambda path: ConsoleTeacher(BOX, path=path), lambda path: ConsoleUser(path=path)])
def test_a_file_that_cant_be_written_is_refused_when_the_person_s_part_is_made(make, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "said.jsonl"):
        with pytest.raises(FeedbackError, match="path: can't write to"):
            make(path)
    make(tmp_path / "said.jsonl")
    assert not (tmp_path / "said.jsonl").exists()  # silence leaves no file


def test_a_line_that_another_process_adds_meanwhile_is_not_lost(tmp_path):
    paths = [tmp_path / f"{number}.jsonl" for number in range(100)]
    for path in paths:
        both_begin = threading.Barrier(2)

        def add(path=path, both_begin=both_begin):
            both_begin.wait()
            append_line(path, b"said\n")

        other = threading.Thread(target=add)
        other.start()
        both_begin.wait()
        ConsoleTeacher(BOX, path=path)
        other.join()
    assert [path.read_bytes() for path in paths if path.exists()] == [b"said\n"] * len(paths)


def test_a_file_behind_a_link_may_still_be_missing_and_its_folder_may_not(tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "folder" / "said.jsonl")
    with pytest.raises(FeedbackError, match="path: can't write to"):
        ConsoleTeacher(BOX, path=link)
    (tmp_path / "folder").mkdir()
    ConsoleTeacher(BOX, path=link)
    assert not list((tmp_path / "folder").iterdir())


def test_names_for_another_space_are_refused():
    names = ActionNames(spaces.Discrete(2), PUSH)
    with pytest.raises(FeedbackError, match="names: for actions of Discrete"):
        ConsoleTeacher(BOX, names)
    with pytest.raises(FeedbackError, match="interpreter: for actions of Discrete"):
        ConsoleTeacher(BOX, ActionNames(BOX), interpreter=RuleInterpreter(names))
    with pytest.raises(FeedbackError, match="interpreter: got 'rules'"):
        ConsoleTeacher(BOX, interpreter="rules")


def test_a_state_cannot_steer_the_terminal():
    shown = said("\n", transition=step()._replace(observation={"mission": "\x1b[2Jgo\r", "more": "x" * 9_999}))[1]
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert len(shown) < 1_000


def test_help_is_no_answer():
    feedback, shown = said("/help\nleft\n")
    assert feedback.text == "left"
    assert "/skip STEPS" in shown


@pytest.mark.parametrize(
    ("space", "typed", "action"),
    [
        (spaces.Discrete(2), "left", 0),
        (spaces.Discrete(2), "Push RIGHT", 1),
        (spaces.Discrete(2), "1", 1),
        (spaces.Discrete(3, start=5), "right", 7),
        (spaces.MultiDiscrete([2]), "right", [1]),
        (BOX, "left 0.5", [-0.5]),
        (BOX, "push right 2", [2.0]),
        (BOX, "-1", [-1.0]),
        (spaces.Box(0, 4, (1,)), "right 1", [3.0]),
    ],
)
def test_an_action_can_be_typed_by_name(space, typed, action):
    feedback, _ = said(f"/action {typed}\n", ActionNames(space, PUSH), step(space.sample()))
    assert feedback.expert_action.tolist() == pytest.approx(action)


def test_help_says_how_actions_are_typed_by_name():
    assert "After /action: left (0) or right (1)." in said("/help\n\n", ActionNames(spaces.Discrete(2), PUSH), step(0))[1]


def test_the_longest_name_is_the_one_that_is_meant():
    names = ActionNames(spaces.Discrete(2), [Dimension("pedal", low=["slow", "brake"], high=["slow start", "gas"])])
    assert said("/action slow start\n", names, step(0))[0].expert_action.tolist() == 1


@pytest.mark.parametrize(
    ("space", "typed", "expected"),
    [
        (spaces.Discrete(2), "up", "expected left (0) or right (1)"),
        (spaces.Discrete(2), "left 1", "expected left (0) or right (1)"),
        (spaces.Discrete(5), "left", "expected a number from 0, the most left, to 4, the most right"),
        (BOX, "left", "expected a number, or left or right with how far, such as right 0.5"),
        (BOX, "left -1", "such as right 0.5"),
        (BOX, "left 3", "outside Box"),
    ],
)
def test_a_name_that_isnt_clear_is_asked_again_with_what_is_expected(space, typed, expected):
    feedback, shown = said(f"/action {typed}\nbetter\n", ActionNames(space, PUSH), step(space.sample()))
    assert feedback.text == "better"
    assert expected in shown


def test_names_of_several_dimensions_want_their_numbers():
    names = ActionNames(spaces.Box(-1, 1, (2,)), [Dimension("throttle"), Dimension("steering", "left", "right")])
    feedback, shown = said("/action left\n/action 0 -1\n", names, step((0.0, 0.0)))
    assert "expected 2 numbers: throttle, steering" in shown
    assert feedback.expert_action.tolist() == [0.0, -1.0]


@pytest.mark.parametrize("arguments", [(), (gym.make("CartPole-v1"),)], ids=["nothing", "an environment"])
def test_a_console_needs_an_action_space(arguments):
    with pytest.raises(FeedbackError, match=r"expected the environment's action_space.*ConsoleTeacher\(ActionNames"):
        ConsoleTeacher(*arguments)
