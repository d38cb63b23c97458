"""nlf-sb3 tune: what it trains, writes, resumes and refuses; second attempts; and the penalty on leaving the reference."""

import json

import pytest
import torch as th
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

pytest.importorskip("transformers")

from nlf_sb3 import REINFORCE
from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.experiments.tune.finished import distinct_pairs
from nlf_sb3.experiments.tune.learner import load_split, make_learner
from nlf_sb3.experiments.tune.report import summarise
from nlf_sb3.experiments.tune.run import Asks
from nlf_sb3.experiments.tune.tune import tune
from nlf_sb3.experiments.tune.warm_up import warm_up
from nlf_sb3.language import ByteTokenizer, ConversationEnv, Record, Reply, SimulatedUser, TokenLevel, toy_records
from nlf_sb3.language.buffers import TokenEpisodeBuffer
from nlf_sb3.language.history import last_turn
from nlf_sb3.language.policy import CausalLMPolicy
from nlf_sb3.language.reference_kl import ReferenceKL
from nlf_sb3.language.refining import RefiningUser
from nlf_sb3.language.responding import perplexity, respond

TOY = {
    "model": "tiny",
    "records": "toy",
    "responses": 8,
    "batch": 4,
    "max_new_tokens": 16,
    "context_length": 48,
    "questions": 4,
    "lr": 1e-3,
}


def quiet():
    return Console(quiet=True)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    options = Tune(**TOY, methods=("joint",), evaluate_every=4, save_models=True, out=out)
    tune(options, quiet())
    return options


def test_everything_is_written(tuned):
    out = tuned.out
    assert {path.name for path in out.iterdir()} == {
        "REPORT.md",
        "curve.png",
        "evaluations.csv",
        "runs",
        "settings.json",
        "summary.json",
    }
    rows = json.loads((out / "runs" / "joint-1" / "rows.json").read_text())
    assert rows[0]["responses"] == 0
    assert 4 < rows[-1]["responses"] < 12  # two rollouts of four, or one that was longer
    assert all(0 <= row["satisfied"] <= row["asked"] == 4 for row in rows)
    answers = [json.loads(line) for line in (out / "runs" / "joint-1" / "responses.jsonl").read_text().splitlines()]
    assert len(answers) == 4 * len(rows)
    report = (out / "REPORT.md").read_text()
    assert "| joint | 1 |" in report
    assert "after 0 responses" in report


def test_a_saved_model_answers_as_before(tuned):
    folder = tuned.out / "runs" / "joint-1"
    model = REINFORCE.load(folder / "model", device="cpu")
    last = [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()][-4:]
    answered = respond(model.policy, ByteTokenizer(), [answer["asked"] for answer in last], 16)
    assert answered == [answer["answered"] for answer in last]
    assert (folder / "pretrained").is_dir()


def test_resuming_repeats_nothing_and_adds_methods(tuned):
    file = tuned.out / "runs" / "joint-1" / "rows.json"
    before = file.stat().st_mtime_ns
    more = Tune(**{**vars(tuned), "methods": ("joint", "reinforce"), "resume": True})
    tune(more, quiet())
    assert file.stat().st_mtime_ns == before
    assert "| reinforce | 1 |" in (tuned.out / "REPORT.md").read_text()
    with pytest.raises(ValueError, match=r"--alpha was 0\.2 and is 0\.5, --lr was .* Pass what it was"):
        tune(Tune(**{**vars(more), "alpha": 0.5, "lr": 0.5}), quiet())
    with pytest.raises(FileExistsError, match="--resume"):
        tune(Tune(**{**vars(more), "resume": False}), quiet())


def test_the_same_seed_gives_the_same_run(tuned, tmp_path):
    tune(Tune(**{**vars(tuned), "methods": ("joint",), "save_models": False, "out": tmp_path / "again"}), quiet())
    first, second = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads((out / "runs/joint-1/rows.json").read_text())]
        for out in (tuned.out, tmp_path / "again")
    )
    assert str(first) == str(second)  # NaN before the first response


def test_bad_input_is_named(tmp_path):
    records = tmp_path / "records.jsonl"
    good = '{"history": [{"role": "user", "content": "q"}], "expected_response": "a", "criterion": {"any_of": ["a"]}}\n'
    records.write_text(good * 5 + '{"history": 3}\n')
    with pytest.raises(ValueError, match=r"records\.jsonl.*6"):
        tune(Tune(**{**TOY, "records": str(records), "out": tmp_path / "out"}), quiet())
    assert not (tmp_path / "out").exists()
    split = load_split(Tune(**{**TOY, "records": str(records), "on_error": "skip"}))
    assert (len(split.train), len(split.held_out)) == (4, 1)
    with pytest.raises(ValueError, match="at least 1"):
        tune(Tune(**{**TOY, "responses": 0, "out": tmp_path / "out"}), quiet())
    with pytest.raises(ValueError, match="one batch"):
        tune(Tune(**{**TOY, "responses": 3, "out": tmp_path / "out"}), quiet())


class Rates(BaseCallback):
    """Notes the learning rate of each update."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.rates.append(self.model.policy.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_learning_rate_falls_with_the_responses_if_it_is_asked_to(schedule):
    options = Tune(**{**TOY, "responses": 12, "lr_schedule": schedule})
    split = load_split(options)
    learner = make_learner(options, "joint", 1, split.train)
    own, counts, rates = learner.model.lr_schedule, [], Rates()
    asks = Asks(learner, options, split, counts.append)
    learner.model.learn(1_000, callback=[asks, rates])
    # Rollouts end with the episode that is their fourth, and a few more at the same step.
    falling = [options.lr * (1 - n / 12) for n in (0, *range(12))]
    assert rates.rates[1] == pytest.approx(options.lr)
    assert all(any(rate == pytest.approx(value) for value in falling) for rate in rates.rates[1:])
    assert (rates.rates[-1] < rates.rates[1]) is (schedule == "linear")
    assert learner.model.lr_schedule is own


@pytest.mark.parametrize(("method", "algorithm"), [("joint", "PPO"), ("injection", "REINFORCE")])
def test_every_method_and_algorithm_trains(method, algorithm, tmp_path):
    options = Tune(**{**TOY, "algorithm": algorithm, "methods": (method,), "kl_coef": 0.1, "out": tmp_path / "out"})
    tune(options, quiet())
    assert (tmp_path / "out" / "REPORT.md").exists()


@pytest.mark.parametrize(("method", "asks"), [("refine", "same_turn"), ("distil", "next_turn")])
def test_second_attempts_are_made_and_counted(method, asks, tmp_path):
    options = Tune(**TOY, methods=(method,), kl_coef=0.1, attempts=2, attempts_ask=asks, out=tmp_path / "out")
    tune(options, quiet())
    first, last = json.loads((tmp_path / "out" / "runs" / f"{method}-1" / "rows.json").read_text())
    assert first["second_attempts"] == 0
    assert 0 < last["second_attempts"] <= 2 * last["responses"]


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_of_attempts_that_is_none_claims_no_folder(temperature, tmp_path):
    with pytest.raises(ValueError, match="attempts-temperature"):
        tune(Tune(**TOY, methods=("refine",), attempts_temperature=temperature, out=tmp_path / "out"), quiet())
    assert not (tmp_path / "out").exists()


def test_summary_by_hand():
    import pandas as pd

    rows = []
    for seed, satisfied in ((1, (0, 9, 10)), (2, (0, 2, 8))):
        for responses, number, value in zip((0, 8, 16), satisfied, (10.0, 10.0, 11.0), strict=True):
            row = {"method": "a", "seed": seed, "responses": responses, "satisfied": number, "asked": 10}
            rows.append({**row, "perplexity": value, "second_attempts": 0, "distinct_pairs": 0.5, "seconds": responses})
    (summary,) = summarise(pd.DataFrame(rows))
    assert (summary["before"], summary["after"], summary["never"]) == (0.0, 0.9, 1)
    assert summary["needed"] == float("inf")  # between 8 and never
    assert summary["perplexity_change"] == pytest.approx(0.1)
    # Wilson, 18 of 20
    assert (summary["low"], summary["high"]) == (pytest.approx(0.699, abs=0.001), pytest.approx(0.972, abs=0.001))


class Scripted:
    """Likes nothing but "b", and says so."""

    records = (Record([{"role": "user", "content": "q?"}], "b", {"any_of": ["b"]}, "say b"),)

    def answer(self, history, response):
        return Reply(1.0) if response == "b" else Reply(0.0, "say b")


@pytest.mark.parametrize(
    ("keep", "attempt", "reward"), [("satisfying", "b", 1.0), ("all", "c", 0.0), ("satisfying", "c", None)]
)
def test_second_attempts_take_the_place_of_expected_responses(keep, attempt, reward, monkeypatch):
    asked = []

    def respond_with(policy, tokenizer, prompts, max_new_tokens, sample, temperature):
        asked.extend(prompts)
        return [attempt]

    monkeypatch.setattr("nlf_sb3.language.refining.respond", respond_with)
    user = RefiningUser(Scripted(), keep)
    assert user.answer([{"role": "user", "content": "q?"}], "a") == Reply(0.0, "say b")  # nobody attached
    user.attach(object(), ByteTokenizer(), 8)
    reply = user.answer([{"role": "user", "content": "q?"}], "a")
    assert [turn["content"] for turn in asked[0]] == ["q?", "a", "say b"]
    assert (reply.expected_response, reply.expected_reward) == ((None, None) if reward is None else (attempt, reward))
    assert (user.n_attempts, user.n_kept) == (1, reward is not None)
    assert user.answer([{"role": "user", "content": "q?"}], "b") == Reply(1.0)  # satisfied at once
    env = TokenLevel(ConversationEnv(user, render=last_turn), ByteTokenizer(), max_new_tokens=8, context_length=32)
    env.reset(seed=0)
    env.step(ord("a"))
    info = env.step(env.tokenizer.eos)[4]
    if reward is None:
        assert "expert_segment" not in info
    else:
        assert info["expert_segment"].rewards.tolist() == [0.0, reward]


@pytest.mark.parametrize(
    ("keep", "attempts", "passed_on"),
    [
        ("satisfying", ["c", "", "b", "d"], ("b", 1.0)),
        ("satisfying", ["c", "d"], (None, None)),
        ("all", ["c", "b"], ("b", 1.0)),
        ("all", ["", "c", "d"], ("c", 0.0)),
        ("all", ["", "too long for 8"], (None, None)),
    ],
)
def test_of_several_attempts_the_first_that_is_better_counts(keep, attempts, passed_on, monkeypatch):
    asked = []

    def respond_with(policy, tokenizer, prompts, max_new_tokens, sample, temperature):
        asked.append((len(prompts), prompts[0], temperature))
        return attempts

    monkeypatch.setattr("nlf_sb3.language.refining.respond", respond_with)
    user = RefiningUser(Scripted(), keep, max_attempts=len(attempts), asks="same_turn", temperature=0.5)
    user.attach(object(), ByteTokenizer(), 8)
    reply = user.answer([{"role": "user", "content": "q?"}], "a")
    assert (reply.expected_response, reply.expected_reward) == passed_on
    assert (user.n_attempts, user.n_kept) == (len(attempts), passed_on[0] is not None)
    assert asked == [(len(attempts), [{"role": "user", "content": "q? say b"}], 0.5)]


def test_attempts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="max_attempts"):
        RefiningUser(Scripted(), max_attempts=0)
    with pytest.raises(ValueError, match="asks: got 'loudly', expected 'next_turn' or 'same_turn'"):
        RefiningUser(Scripted(), asks="loudly")
    with pytest.raises(ValueError, match=r"temperature: got 0\.0, expected a number above 0"):
        RefiningUser(Scripted(), temperature=0.0)


def test_one_answer_to_every_question_has_few_distinct_pairs():
    assert distinct_pairs(["the who is the who"] * 10) == 3 / 40  # the who, who is, is the
    assert distinct_pairs(["red pears", "Green apples!"]) == 1.0
    assert distinct_pairs(["", "one"]) == 0.0


@pytest.mark.parametrize("shows_expected", [False, True])
def test_an_expected_response_leaves_the_agent_s_own_reward_alone(shows_expected):
    user = SimulatedUser(toy_records(4), shows_expected=shows_expected)
    env = TokenLevel(ConversationEnv(user, render=last_turn), ByteTokenizer(), max_new_tokens=16, context_length=32)
    env.reset(seed=0)
    env.step(ord("a"))
    _, reward, terminated, _, info = env.step(env.tokenizer.eos)
    assert (reward, terminated, info["feedback"].score) == (0.0, True, 0.0)
    assert ("expert_segment" in info) == shows_expected
    if shows_expected:
        assert info["expert_segment"].rewards[-1] == 1.0


def learner(**arguments):
    env = TokenLevel(
        ConversationEnv(SimulatedUser(toy_records(8), shows_expected=False), render=last_turn),
        ByteTokenizer(),
        max_new_tokens=8,
        context_length=32,
    )
    return REINFORCE(
        CausalLMPolicy,
        env,
        rollout_buffer_class=TokenEpisodeBuffer,
        n_episodes=4,
        gamma=1.0,
        seed=1,
        device="cpu",
        max_grad_norm=None,
        learning_rate=0.0,
        **arguments,
    )


def test_the_reference_penalty_s_gradient_by_hand():
    coef = 0.5
    model = learner(auxiliary_losses=[ReferenceKL(coef)], policy_kwargs={"reference": True})
    with th.no_grad():
        for parameter in model.policy.language_model.parameters():
            parameter.add_(0.02 * th.randn(parameter.shape, generator=th.Generator().manual_seed(parameter.numel())))
    model.learn(1)  # rewards are all 0: the policy gradient is too
    buffer = model.rollout_buffer
    observations = buffer.take_rows(buffer.observations, buffer.row_indices())
    came = {name: p.grad.clone() for name, p in model.policy.named_parameters() if p.grad is not None and "value" not in name}
    model.policy.zero_grad()
    own = model.policy.get_distribution(observations).distribution.logits
    (coef * (own.exp() * (own - model.policy.reference_log_probs(observations))).sum(1).mean()).backward()
    for name, parameter in model.policy.named_parameters():
        if name in came and parameter.grad is not None:
            assert th.allclose(came[name], parameter.grad, atol=1e-6), name
    assert max(float(grad.abs().max()) for grad in came.values()) > 1e-5


def test_the_reference_penalty_is_nothing_at_the_reference():
    model = learner(policy_kwargs={"reference": True})
    model.learn(1)
    buffer = model.rollout_buffer
    observations = buffer.take_rows(buffer.observations, buffer.row_indices())
    assert float(model.policy.reference_kl(observations).abs().max().detach()) < 1e-5
    with pytest.raises(ValueError, match="coef"):
        ReferenceKL(-1.0)


def test_warm_up_and_perplexity():
    options = Tune(**{**TOY, "warm_up": 1.0})
    split = load_split(options)
    made = make_learner(options, "reinforce", 1, split.train)
    text = "q: puze? no, usda. " * 5
    before = perplexity(made.model.policy, made.tokenizer, text, 48)
    assert 200 < before < 400  # 257 tokens, none likelier than another
    warm_up(made, options, split.train, 1, n_updates=60)
    assert perplexity(made.model.policy, made.tokenizer, text, 48) < before
    answers = respond(made.model.policy, made.tokenizer, [record.history[-1]["content"] for record in split.held_out], 16)
    assert sum(answer.endswith("usda") for answer in answers) >= 3
