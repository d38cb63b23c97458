"""Words become corrections: by rules, learned on line, and as targets of imitation."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_sb3.errors import FeedbackError
from nlf_sb3.experiments.compare import words
from nlf_sb3.teachers import SpeakingTeacher, Transition
from nlf_sb3.text import (
    ActionNames,
    CachedEncoder,
    Corrections,
    Dimension,
    HashedNgrams,
    LearnedInterpreter,
    Remarks,
    RuleInterpreter,
    SentenceEncoder,
    correction_targets,
)

DATA = Path(__file__).parent / "data"
PUSH = [Dimension("push", low="left", high="right")]
PENDULUM = ActionNames(spaces.Box(-3.0, 3.0, (1,)), PUSH)
CART = ActionNames(spaces.Discrete(2), PUSH)
JOINTS = [Dimension(name, low=("back", "backward"), high="forward") for name in ("thigh", "leg", "foot")]
HOPPER = ActionNames(spaces.Box(-1.0, 1.0, (3,)), JOINTS)
KNOBS = [Dimension(name, low=("down", "lower", "less"), high=("up", "higher", "more")) for name in ("heat", "light")]
LIGHTS = ActionNames(spaces.MultiDiscrete([3, 3]), KNOBS)
VOCABULARIES = {"cart": CART, "pendulum": PENDULUM, "hopper": HOPPER, "lights": LIGHTS}


def read(names, text, taken, kind=None):
    corrections = RuleInterpreter(names).interpret(Remarks([text], [kind], np.array([taken])))
    return corrections.directions[0], corrections.valences[0], corrections.confidences[0]


@pytest.mark.parametrize(
    ("text", "taken", "direction"),
    [
        ("push right, harder", [0.5], 1),
        ("a bit more to the left", [0.5], -1),
        ("You shouldn't have gone left.", [-1.0], 1),
        ("don't go right", [1.0], -1),
        ("stop going left", [-1.0], 1),
        ("don't stop going left", [-1.0], -1),
        ("go right instead of left", [-1.0], 1),
        ("not left but right", [-1.0], 1),
        ("rather than left, go right", [-1.0], 1),
        ("left was wrong", [-1.0], 1),
        ("it was a mistake to go left", [-1.0], 1),
        ("that was too far to the right", [2.0], -1),
        ("not far enough to the right", [0.2], 1),
        ("too little to the right", [0.2], 1),
        ("less left", [-1.0], 1),
        ("harder!", [0.5], 1),
        ("harder!", [-0.5], -1),
        ("too hard", [2.0], -1),
        ("not so hard", [2.0], -1),
        ("too weak", [2.0], 1),
        ("ease off a little", [-2.0], 1),
        ("the other way, please", [-2.0], 1),
        ("that's right, keep left", [-1.0], -1),
        ("Why did you go left?", [-1.0], 1),
        ("you went left when you should have gone right", [-1.0], 1),
    ],
)
def test_which_way(text, taken, direction):
    assert read(PENDULUM, text, taken)[0] == [direction]


@pytest.mark.parametrize(
    ("text", "valence"),
    [
        ("Well done!", 1),
        ("That was not good.", -1),
        ("not bad at all", 1),
        ("No!", -1),
        ("nothing wrong with that", 1),
        ("I disagree.", -1),
        ("the table is brown", 0),
    ],
)
def test_praise_and_blame_without_a_direction(text, valence):
    direction, came, confidence = read(PENDULUM, text, [1.0])
    assert came == valence
    assert direction == [0]
    assert (confidence > 0) == (valence != 0)


def test_a_dimension_is_spoken_of_by_its_name():
    direction, _, confidence = read(HOPPER, "move the foot forward", [0.0, 0.0, 0.0])
    assert direction.tolist() == [0, 0, 1]
    assert confidence == 1
    _, _, unnamed = read(HOPPER, "move forward", [0.0, 0.0, 0.0])
    assert unnamed < 0.5


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("push right, harder", 0.5),
        ("push right harder", 0.5),
        ("push firmly to the right", 0.5),
        ("push right a bit harder", 0.08),
        ("push right, gentler", 0.08),
        ("gently push right", 0.08),
        ("push softly to the right", 0.08),
        ("push right", 0.2),
        ("go further right", 0.2),
    ],
)
def test_how_to_go_a_way_is_its_size_and_not_another_way(text, size):
    corrections = RuleInterpreter(PENDULUM).interpret(Remarks([text], [None], np.array([[0.0]])))
    assert (corrections.directions[0, 0], corrections.sizes[0]) == (1, size)


def test_names_that_differ_in_a_number_are_told_apart():
    names = ActionNames(spaces.Box(-1, 1, (2,)), [Dimension("joint 1"), Dimension("joint 2")])
    assert read(names, "move joint 1 up", [0.0, 0.0])[0].tolist() == [1, 0]
    assert read(names, "joint 2 should go down", [0.0, 0.0])[0].tolist() == [0, -1]


def test_names_may_be_of_any_script():
    names = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("push", low="влево", high="über links")])
    assert read(names, "go влево", [0.0])[0] == [-1]
    assert read(names, "go über links please", [0.0])[0] == [1]
    assert read(names, "go far the most", [0.0])[0] == [0]


def test_praise_of_what_was_not_done_is_doubted():
    assert read(PENDULUM, "Going left was good.", [-1.0], "hp")[2] == 1
    assert read(PENDULUM, "Going left was good.", [1.0], "hp")[2] < 0.5


ODD = [
    "",
    " ",
    "\x00\x07\x1b[31m",
    "🙂🙃" * 50,
    "שמאלה ימינה",
    "لا تذهب يسارا",
    "x" * 10_000,
    "The committee approved the minutes and adjourned at noon on Thursday.",
    "Mix flour, butter and sugar, then bake the cake until golden brown.",
    "__import__('os').system('echo left')",
    "left " * 2_000,
    "{way} {0} %s %d ${HOME}",
]


@pytest.mark.parametrize("text", ODD)
def test_irrelevant_text_is_read_with_little_confidence(text):
    for names, taken in ((PENDULUM, [1.0]), (CART, 1), (HOPPER, [0.1, 0.2, 0.3]), (LIGHTS, [1, 2])):
        assert read(names, text, taken)[2] <= 0.3


@pytest.mark.parametrize("text", words.OFF_TOPIC + words.ODD)
def test_irrelevant_text_of_comparisons_is_read_with_little_confidence(text):
    for names, taken in ((PENDULUM, [1.0]), (CART, 1)):
        assert read(names, text, taken)[2] <= 0.3


def test_sentences_about_another_topic_are_read_with_little_confidence():
    sentences = (DATA / "off_topic.txt").read_text(encoding="utf-8").splitlines()
    for names, taken in ((PENDULUM, [1.0]), (CART, 1), (HOPPER, [0.1, 0.2, 0.3])):
        assert np.mean([read(names, text, taken)[2] <= 0.3 for text in sentences]) > 0.95


def test_grammar_does_not_make_a_remark_understood():
    assert read(PENDULUM, "It is the cello that they had left for him.", [1.0])[2] == 0
    assert read(PENDULUM, "It is to the left that you should have gone.", [1.0])[2] == 1


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_read(text):
    for names, taken in ((CART, 1), (LIGHTS, [1, 2])):
        direction, valence, confidence = read(names, text, taken)
        assert set(direction) <= {-1, 0, 1}
        assert valence in (-1, 0, 1)
        assert 0 <= confidence <= 1


def held_out():
    lines = (DATA / "held_out_phrasings.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_direction_of_held_out_phrasings():
    hits = []
    for line in held_out():
        if line["direction"]:
            names = VOCABULARIES[line["vocabulary"]]
            wanted = np.zeros(names.n_dimensions)
            wanted[line["dimension"] or 0] = line["direction"]
            hits.append(np.array_equal(read(names, line["text"], line["taken"], line["kind"])[0], wanted))
    assert len(hits) > 200
    assert np.mean(hits) >= 0.95


@pytest.mark.parametrize("names", [PENDULUM, HOPPER, LIGHTS, CART])
def test_rules_understand_the_teacher(names):
    rng = np.random.default_rng(0)
    wanted = []
    teacher = SpeakingTeacher(lambda observations: np.stack([wanted[-1]] * len(observations)), names)
    teacher.seed(1)
    interpreter = RuleInterpreter(names)
    names.space.seed(2)
    hits = []
    for _ in range(400):
        taken = names.space.sample()
        wanted.append(taken if rng.random() < 0.25 else names.space.sample())
        feedback = teacher(Transition(np.zeros(2), taken, 0.0, np.zeros(2), False, False, {}, 0))
        corrections = interpreter.interpret(Remarks([feedback.text], [feedback.text_kind], np.array([taken])))
        difference = (names.flatten(wanted[-1][None]) - names.flatten(taken[None]))[0] / names.half_range
        furthest = np.abs(difference).argmax()
        is_good = np.abs(difference[furthest]) <= teacher.tolerance
        if is_good:
            hits.append(corrections.valences[0] > 0)
        elif feedback.text_kind == "r":
            hits.append(corrections.valences[0] < 0)
        else:
            hits.append(corrections.directions[0][furthest] == np.sign(difference[furthest]))
    assert np.mean(hits) > 0.98


def teach(names, interpreter, n_rows, seed=0, kinds=("hn", "fp", "fn")):
    """Remarks of a speaking teacher about random actions, with what its expert would have done."""
    names.space.seed(seed)
    wanted, texts, actions = [], [], []
    teacher = SpeakingTeacher(lambda observations: np.stack([wanted[-1]] * len(observations)), names, kinds=kinds)
    teacher.seed(seed)
    while len(texts) < n_rows:
        taken = names.space.sample()
        wanted.append(names.space.sample())
        feedback = teacher(Transition(np.zeros(2), taken, 0.0, np.zeros(2), False, False, {}, 0))
        if feedback is None:
            wanted.pop()
            continue
        texts.append(feedback.text)
        actions.append(taken)
    remarks = Remarks(texts, [None] * n_rows, np.stack(actions))
    return remarks, np.stack(wanted)


@pytest.mark.parametrize("names", [PENDULUM, HOPPER])
def test_words_are_learned_from_rows_with_both(names):
    interpreter = LearnedInterpreter(names)
    remarks, wanted = teach(names, interpreter, 1_500)
    untaught = interpreter.interpret(remarks)
    assert not untaught.confidences.any()
    for start in range(0, 1_500, 50):
        rows = slice(start, start + 50)
        part = Remarks(remarks.texts[rows], remarks.kinds[rows], remarks.actions[rows])
        interpreter.observe(part, wanted[rows])
    fresh, wanted = teach(names, interpreter, 300, seed=1)
    corrections = interpreter.interpret(fresh)
    difference = (names.flatten(wanted) - names.flatten(fresh.actions)) / names.half_range
    furthest = np.abs(difference).argmax(axis=1)
    rows = np.arange(300)
    hits = corrections.directions[rows, furthest] == np.sign(difference[rows, furthest])
    assert hits.mean() > 0.85
    assert corrections.confidences.mean() > 0.5
    other = Remarks(["Mix flour, butter and sugar."] * 2, [None] * 2, fresh.actions[:2])
    assert interpreter.interpret(other).confidences.max() < 0.3


def test_targets_by_hand():
    corrections = Corrections(
        directions=np.array([[1.0], [-1.0], [0.0], [0.0], [1.0]]),
        sizes=np.array([0.2, 0.5, 0.2, 0.2, 0.2]),
        valences=np.array([0.0, -1.0, 1.0, -1.0, 1.0]),
        confidences=np.array([1.0, 0.5, 0.8, 0.8, 1.0]),
    )
    actions = np.array([[0.0], [-2.5], [1.0], [1.0], [2.0]], dtype=np.float32)
    targets = correction_targets(PENDULUM, actions, corrections)
    # a + h e with h in half ranges of 3, clipped to the bounds; praise and blame speak of what was done
    assert targets.actions.ravel() == pytest.approx([0.6, -3.0, 1.0, 1.0, 2.0])
    assert targets.weights == pytest.approx([1.0, 0.5, 0.8, -0.8, 1.0])
    assert targets.actions.dtype == np.float32


def test_discrete_targets_are_whole_steps_and_nothing_beyond_the_bounds():
    ones = np.ones(3)
    corrections = Corrections(np.array([[1.0], [-1.0], [1.0]]), 0.2 * ones, 0 * ones, ones)
    targets = correction_targets(CART, np.array([0, 1, 1]), corrections)
    assert targets.actions.tolist() == [1, 0, 1]
    assert targets.weights.tolist() == [1, 1, 0]


def test_encoders_batch_cache_and_check():
    class Counting:
        size = 8
        asked = ()

        def encode(self, texts):
            self.asked = (*self.asked, *texts)
            return HashedNgrams(8).encode(texts)

    inner = Counting()
    cached = CachedEncoder(inner, capacity=2)
    first = cached.encode(["a b", "c", "a b"])
    assert inner.asked == ("a b", "c")
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(cached.encode(["c"]), first[1:2])
    assert len(inner.asked) == 2
    cached.encode(["d", "e"])
    cached.encode(["c"])
    assert inner.asked[-1] == "c"  # forgotten, and asked again
    assert np.allclose(np.linalg.norm(HashedNgrams().encode(["push left"]), axis=1), 1)
    assert not HashedNgrams().encode([""]).any()
    assert HashedNgrams().encode([]).shape == (0, 256)


def test_an_encoder_that_lies_is_named():
    class Liar:
        size = 8

        def encode(self, texts):
            return np.zeros((len(texts), 7))

    interpreter = LearnedInterpreter(PENDULUM, Liar())
    with pytest.raises(FeedbackError, match=r"\(1, 7\).*\(1, 8\)"):
        interpreter.observe(Remarks(["left"], [None], np.zeros((1, 1))), np.zeros((1, 1)))


def test_a_sentence_transformer_encodes():
    package = pytest.importorskip("sentence_transformers")
    from sentence_transformers import models

    words = models.WordEmbeddings(models.tokenizer.WhitespaceTokenizer(["push", "left", "right"]), np.eye(3))
    model = package.SentenceTransformer(modules=[words, models.Pooling(3)], device="cpu")
    encoder = SentenceEncoder(model)
    encoded = encoder.encode(["push left", "push right"])
    assert encoded.shape == (2, encoder.size) == (2, 3)
    assert np.allclose(np.linalg.norm(encoded, axis=1), 1)
    assert encoder.encode([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActionNames(spaces.MultiBinary(2)), "expected Box, Discrete or MultiDiscrete"),
        (lambda: ActionNames(spaces.Box(-1, 1, (2,)), PUSH), "got 1, expected 2"),
        (lambda: Dimension("push", low="left", high=("right", "Left")), "stands for lower and for higher"),
        (lambda: Dimension("push", low=()), "expected a name"),
        (lambda: SpeakingTeacher(lambda o: o, PENDULUM, kinds=["x"]), "expected some of r, hp"),
        (lambda: SpeakingTeacher(lambda o: o, PENDULUM, probability=2), "probability: got 2"),
    ],
)
def test_bad_names_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dimensions", [["push"], Dimension("push"), "push"], ids=["strings", "single", "string"])
def test_dimensions_are_a_list_of_them(dimensions):
    with pytest.raises(TypeError, match=r"expected a list with a Dimension .* Write \[Dimension"):
        ActionNames(spaces.Box(-1, 1, (1,)), dimensions)


def test_idioms_may_be_of_one_word_and_names_may_have_curly_apostrophes():
    assert read(PENDULUM, "Make a u-turn.", [1.0])[0] == [-1]
    names = ActionNames(spaces.Box(-1, 1, (1,)), [Dimension("robot\N{RIGHT SINGLE QUOTATION MARK}s arm")])
    assert read(names, "move the robot's arm up", [0.0])[0] == [1]


def test_encoding_and_reading_are_cheap():
    rng = np.random.default_rng(0)
    lines = [line["text"] for line in held_out() if line["vocabulary"] == "pendulum"]
    texts = [f"{lines[rng.integers(len(lines))]} {number}" for number in range(2_000)]
    remarks = Remarks(texts, [None] * len(texts), rng.uniform(-3, 3, (len(texts), 1)))
    interpreter, encoder = RuleInterpreter(PENDULUM), HashedNgrams()

    def seconds():
        start = time.process_time()
        interpreter.interpret(remarks)
        encoder.encode(texts)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) / len(texts) < 100e-6  # 20 by itself on an idle machine (nlf-sb3 bench)
