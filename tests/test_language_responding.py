"""Responses are the policy's own: its distribution, its tokens and nothing of what a model's folder says of generation."""

from __future__ import annotations

import pytest
import torch as th

pytest.importorskip("transformers")

from language_helpers import BYTES, EOS, LORA, enliven, padded, passes_of, policy, save_llama

from nlf_sb3.language import RefiningUser, Reply, respond

PROMPTS = ["pear?", "is it", "a"]
N_NEW = 10


def token_by_token(model, prompts, deterministic=True):
    """What the policy says in its environment, one token after another, all rows side by side."""
    rows = [BYTES.encode_prompt(prompt) for prompt in prompts]
    said = [[] for _ in rows]
    for _ in range(N_NEW):
        observations = padded(*(row + more for row, more in zip(rows, said, strict=True)))
        actions = model.predict(observations, deterministic=deterministic)[0]
        for more, action in zip(said, actions, strict=True):
            more.append(int(action))
    return [more[: more.index(EOS)] if EOS in more else more for more in said]


def texts(rows):
    return [BYTES.decode(row) for row in rows]


OF_A_FOLDER = [
    {"repetition_penalty": 1.3},
    {"num_beams": 4},
    {"num_beams": 2, "num_return_sequences": 2},
    {"no_repeat_ngram_size": 1},
    {"max_time": 1e-4},
    {"stop_strings": ["a"]},
    {"return_dict_in_generate": True},
    {"begin_suppress_tokens": list(range(200))},
    {"bad_words_ids": [[token] for token in range(128)]},
    {"forced_eos_token_id": 5},
    {"encoder_repetition_penalty": 3.0},
    {"exponential_decay_length_penalty": [1, 5.0]},
    {"sequence_bias": [[[7], 1e4]]},
]


@pytest.mark.parametrize("settings", OF_A_FOLDER, ids=lambda settings: "-".join(settings))
def test_a_folders_generation_config_changes_no_response(settings, tmp_path):
    model = policy(model=save_llama(tmp_path, settings))
    expected = token_by_token(model, PROMPTS)
    assert respond(model, BYTES, PROMPTS, N_NEW) == texts(expected)
    assert len({tuple(row) for row in expected}) == len(PROMPTS)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 3},
        {"forbidden_tokens": range(0, 250)},
        {"lora": LORA},
        {"top_k": 2, "temperature": 2.0},
    ],
)
def test_with_the_same_seed_a_sampled_response_is_the_rollouts(kwargs, tmp_path):
    model = enliven(policy(model=save_llama(tmp_path, {"repetition_penalty": 1.3, "top_p": 0.5}), **kwargs), seed=3)
    th.manual_seed(7)
    rollout = token_by_token(model, PROMPTS, deterministic=False)
    th.manual_seed(7)
    rows = [BYTES.encode_prompt(prompt) for prompt in PROMPTS]
    assert model.generate(rows, N_NEW, ends=[EOS]) == rollout
    th.manual_seed(7)
    assert respond(model, BYTES, PROMPTS, N_NEW, sample=True) == texts(rollout)


def test_of_the_likeliest_one_samples_are_the_greedy_response(tmp_path):
    model = policy(model=save_llama(tmp_path), top_k=1)
    (greedy,) = respond(model, BYTES, ["pear?"], N_NEW)
    assert set(respond(model, BYTES, ["pear?"] * 8, N_NEW, sample=True)) == {greedy}
    assert set(respond(model, BYTES, ["pear?"] * 4, N_NEW, sample=True, temperature=5.0)) == {greedy}


def test_what_a_model_has_beyond_the_tokenizers_vocabulary_is_never_said(tmp_path):
    model = policy(model=save_llama(tmp_path, vocab_size=400))
    rows = [BYTES.encode_prompt("pear?")] * 20
    assert max(map(max, model.generate(rows, N_NEW, ends=[EOS]))) < 258
    assert respond(model, BYTES, PROMPTS, N_NEW) == texts(token_by_token(model, PROMPTS))


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_samples_follow_the_policys_distribution_at_its_own_temperature_or_another(temperature):
    model = enliven(policy(temperature=1.0, top_k=3, forbidden_tokens=[EOS]))
    prompt = BYTES.encode_prompt("a")
    log_probs = model.get_distribution(th.as_tensor(padded(prompt))).distribution.logits[0]
    top = log_probs.topk(3)
    expected = (top.values / (temperature or 1.0)).softmax(dim=0)
    th.manual_seed(0)
    said = [row[0] for row in model.generate([prompt] * 4000, 1, ends=[EOS], temperature=temperature)]
    counts = th.bincount(th.tensor(said), minlength=258) / 4000
    assert th.allclose(counts[top.indices], expected, atol=0.03)


def test_a_low_temperature_is_greedy_and_none_below_it_is_taken():
    model = enliven(policy())
    greedy = respond(model, BYTES, PROMPTS, N_NEW)
    assert respond(model, BYTES, PROMPTS, N_NEW, sample=True, temperature=1e-4) == greedy
    assert respond(model, BYTES, PROMPTS, N_NEW, sample=True) != greedy
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"temperature: got .* expected a number above 0"):
            respond(model, BYTES, PROMPTS, N_NEW, sample=True, temperature=wrong)
    with pytest.raises(ValueError, match="max_new_tokens: got 0"):
        respond(model, BYTES, PROMPTS, 0)


def test_responses_have_no_dropout_and_leave_the_mode_of_the_policy():
    model = enliven(policy(lora={**LORA, "lora_dropout": 0.5}, dropout=True))
    expected = respond(model, BYTES, PROMPTS, N_NEW)
    model.set_training_mode(True)
    assert respond(model, BYTES, PROMPTS, N_NEW) == expected
    assert model.training
    assert model.language_model.training


def test_a_rollout_under_way_goes_on_from_its_cache():
    model = enliven(policy(top_k=4))
    twin = enliven(policy(top_k=4))
    said = [[], []]
    for step in range(4):
        for one, row in zip((model, twin), said, strict=True):
            th.manual_seed(step)
            row.append(int(one(th.as_tensor(padded([256, 1, *row])))[0]))
        respond(model, BYTES, PROMPTS, 3, sample=True)
    assert said[0] == said[1]
    passes = passes_of(model)
    model(th.as_tensor(padded([256, 1, *said[0]])))
    assert passes == [(1, 1)]


def test_batches_of_any_size_give_the_same_greedy_responses():
    model = enliven(policy())
    prompts = [*PROMPTS, "yes", "no, or"]
    expected = respond(model, BYTES, prompts, N_NEW)
    for size in (1, 2, 5):
        assert respond(model, BYTES, prompts, N_NEW, batch_size=size) == expected
    assert respond(model, BYTES, (prompt for prompt in prompts), N_NEW, batch_size=2) == expected
    assert respond(model, BYTES, [], N_NEW) == []
    with pytest.raises(ValueError, match="batch_size: got 0"):
        respond(model, BYTES, prompts, N_NEW, batch_size=0)


def test_any_of_several_ends_ends_a_response():
    model = enliven(policy())
    prompts = [BYTES.encode_prompt(prompt) for prompt in PROMPTS]
    whole = model.generate(prompts, N_NEW, ends=[EOS], deterministic=True)
    assert min(map(len, whole)) > 4
    ends = [EOS, *(row[2] for row in whole)]
    cut = [row[: next(index for index, token in enumerate(row) if token in ends)] for row in whole]
    assert model.generate(prompts, N_NEW, ends=ends, deterministic=True) == cut
    assert model.generate([], N_NEW, ends=ends) == []
    with pytest.raises(ValueError, match="ends: got none"):
        model.generate(prompts, N_NEW, ends=[])


def test_another_tokenizer_than_the_environments_is_named():
    class Larger(type(BYTES)):
        def encode_prompt(self, prompt):
            return [256, 300]

    with pytest.raises(ValueError, match="makes token 300 of one, and the policy has 258 tokens"):
        respond(policy(), Larger(), ["pear?"], N_NEW)


@pytest.mark.parametrize(
    ("prompt", "kind", "message"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], TypeError, "got content of list, expected a str"),
        ([{"role": "user\nsystem", "content": "hi"}], ValueError, "got role 'user"),
        (5, TypeError, "prompt: got int, expected a str or a list of messages"),
    ],
)
def test_prompts_that_are_none_are_refused_by_name(prompt, kind, message):
    with pytest.raises(kind, match=message):
        respond(policy(), BYTES, ["pear?", prompt], N_NEW)


class Hears:
    """Likes nothing, and remembers what it was shown."""

    records = ()

    def __init__(self):
        self.heard = []

    def answer(self, history, response):
        self.heard.append(response)
        return Reply(0.0, "again")


def test_second_attempts_are_sampled_by_the_policy(tmp_path):
    folder = save_llama(tmp_path, {"num_beams": 2, "num_return_sequences": 2, "repetition_penalty": 1.4})
    model = policy(model=folder, top_k=1, forbidden_tokens=[*range(33), *range(127, 256)])
    hears = Hears()
    user = RefiningUser(hears, "all", lambda turns: turns[-1]["content"], max_attempts=3)
    user.attach(model, BYTES, N_NEW + 1)
    user.answer([{"role": "user", "content": "q?"}], "a")
    (greedy,) = respond(model, BYTES, ["again"], N_NEW)
    attempts = hears.heard[1:]
    assert user.n_attempts == 3
    assert attempts
    assert set(attempts) == {greedy.strip()}
