"""A causal LM as a policy: generation with a cache, evaluation by sequences, what is sampled and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th

pytest.importorskip("transformers")

from language_helpers import BYTES, EOS, LORA, enliven, padded, passes_of, policy, ppo, reinforce, token_env, vec_env

from nlf_sb3.language import ByteTokenizer, CausalLMPolicy, TokenContexts
from nlf_sb3.language.responding import respond


class Rows:
    """Environments of random prompts whose episodes end at random; their observations, step by step."""

    def __init__(self, n_rows, seed):
        self._rng = np.random.default_rng(seed)
        self.rows = [self._prompt() for _ in range(n_rows)]

    def _prompt(self):
        return self._rng.integers(0, 256, self._rng.integers(1, 12)).tolist()

    def step(self, actions):
        for row, action in enumerate(actions):
            ends = self._rng.random() < 0.25 or len(self.rows[row]) == 24
            self.rows[row] = self._prompt() if ends else [*self.rows[row], int(action)]

    def observe(self):
        return padded(*self.rows)


@pytest.mark.parametrize("kwargs", [{}, {"lora": LORA}, {"temperature": 0.7, "forbidden_tokens": [3, 4]}])
def test_cached_generation_agrees_with_one_forward_pass_whatever_resets_when(kwargs):
    model, rows = enliven(policy(**kwargs)), Rows(5, seed=2)
    passes, n_cached, n_whole = passes_of(model), 0, 0
    for _ in range(40):
        observations = rows.observe()
        passes.clear()
        actions, values, log_prob = model(th.as_tensor(observations))
        n_cached += sum(n_rows * n_tokens for n_rows, n_tokens in passes)
        passes.clear()
        with th.no_grad():
            slow_values, slow_log_prob, _ = model.evaluate_actions(th.as_tensor(observations), actions)
        n_whole += sum(n_rows * n_tokens for n_rows, n_tokens in passes)
        assert th.allclose(log_prob, slow_log_prob, atol=1e-4)
        assert th.allclose(values, slow_values, atol=1e-4)
        assert values.shape == (5, 1)
        rows.step(actions)
    assert 3 * n_cached < n_whole


@pytest.mark.parametrize("architecture", ["gpt2", "mistral"])
def test_other_architectures_agree_too(architecture, tmp_path):
    import transformers

    sizes = {"vocab_size": 258, "bos_token_id": None, "eos_token_id": None}
    if architecture == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=32, **sizes)
    else:
        layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        layers |= {"sliding_window": 4}
        config = transformers.MistralConfig(
            hidden_size=32, intermediate_size=32, max_position_embeddings=32, **layers, **sizes
        )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model, rows = enliven(policy(model=str(tmp_path))), Rows(3, seed=3)
    for _ in range(12):
        observations = th.as_tensor(rows.observe())
        actions, _, log_prob = model(observations)
        assert th.allclose(log_prob, model.evaluate_actions(observations, actions)[1], atol=1e-4)
        rows.step(actions)


def test_the_cache_is_dropped_when_weights_change():
    model = enliven(policy())
    first, second = th.as_tensor(padded([1, 2])), th.as_tensor(padded([1, 2, 3]))
    model(first)
    enliven(model, seed=5)
    passes = passes_of(model)
    actions, _, log_prob = model(second)
    assert passes == [(1, 3)]
    assert th.allclose(log_prob, model.evaluate_actions(second, actions)[1], atol=1e-4)


def test_another_number_of_rows_is_no_matter():
    model = enliven(policy())
    model(th.as_tensor(padded([1, 2], [3])))
    observation = th.as_tensor(padded([1, 2, 5]))
    actions, _, log_prob = model(observation)
    assert th.allclose(log_prob, model.evaluate_actions(observation, actions)[1], atol=1e-4)


def test_an_observation_without_a_token_is_refused():
    with pytest.raises(ValueError, match="an observation has no token"):
        policy()(th.as_tensor(padded([])))


def test_contexts_and_padded_tokens_are_evaluated_alike_in_one_row_for_each_sequence():
    model, seen = enliven(policy()), []
    model.language_model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    parts = [TokenContexts.of_sequence(range(first, first + 10), np.arange(2, 11)) for first in (5, 50, 100)]
    contexts = parts[0].joined(parts[1:])
    actions = th.arange(27)
    values, log_prob, entropy = model.evaluate_actions(contexts, actions)
    assert seen == [(3, 10)]
    rows = th.as_tensor(padded(*list(contexts)))
    slow = model.evaluate_actions(rows, actions)
    for fast, other in zip((values, log_prob, entropy), slow, strict=True):
        assert th.allclose(fast, other, atol=1e-5)
    assert th.allclose(model.predict_values(contexts), model.predict_values(rows), atol=1e-5)


def test_the_distribution_is_that_of_torchs_own_and_so_is_the_entropys_gradient():
    model = enliven(policy())
    contexts = TokenContexts.of_sequence(range(9), np.arange(1, 10))
    _, log_prob, entropy = model.evaluate_actions(contexts, th.arange(9))
    mine = th.autograd.grad(entropy.sum(), list(model.language_model.parameters()), allow_unused=True)
    logits = model.get_distribution(contexts).distribution.logits
    torchs = th.distributions.Categorical(logits=logits)
    theirs = th.autograd.grad(torchs.entropy().sum(), list(model.language_model.parameters()), allow_unused=True)
    assert th.allclose(log_prob, torchs.log_prob(th.arange(9)), atol=1e-5)
    assert th.allclose(entropy, torchs.entropy(), atol=1e-5)
    for first, second in zip(mine, theirs, strict=True):
        assert th.allclose(first, second, atol=1e-4)


def test_samples_follow_the_probabilities():
    model = enliven(policy())
    distribution = model.get_distribution(TokenContexts.of_sequence([7], [1] * 20_000))
    th.manual_seed(1)
    counts = th.bincount(distribution.sample(), minlength=258) / 20_000
    assert (counts - distribution.distribution.probs[0]).abs().max() < 0.02


@pytest.mark.parametrize("detached", [True, False])
def test_the_value_loss_moves_the_language_model_only_if_it_may(detached):
    model = enliven(policy(value_detached=detached))
    values, _, _ = model.evaluate_actions(TokenContexts.of_sequence([1, 2], [1, 2]), th.tensor([2, 3]))
    (values**2).sum().backward()
    assert model.value_net.weight.grad.abs().sum() > 0
    assert all((parameter.grad is None) == detached for parameter in model.language_model.model.parameters())


# --- what is sampled ----------------------------------------------------------------------------------


def test_forbidden_tokens_are_never_sampled_and_never_evaluated():
    forbidden = [token for token in range(258) if token not in (ord("a"), EOS)]
    model = reinforce(vec_env(), {"forbidden_tokens": forbidden}, n_episodes=20)
    heard = []
    model.learn(100, callback=lambda local, _: heard.extend(np.ravel(local["actions"]).tolist()) or True)
    assert set(heard) == {ord("a"), EOS}
    with pytest.raises(ValueError, match="one of forbidden_tokens"):
        model.policy.evaluate_actions(TokenContexts.of_sequence([1], [1]), th.tensor([5]))
    enliven(model.policy)
    for sample in (False, True):
        (response,) = respond(model.policy, ByteTokenizer(), ["q?"], 12, sample=sample)
        assert set(response) <= {"a"}


def test_prompts_are_a_list_and_leave_room_for_a_response():
    model = policy()
    with pytest.raises(TypeError, match=r"got a single text, 'q\?'; expected a list. Write \['q\?'\]"):
        respond(model, ByteTokenizer(), "q?", 4)
    room = model.language_model.config.max_position_embeddings
    (response,) = respond(model, ByteTokenizer(), ["q" * (room - 5)], 4)  # a token begins every prompt
    assert isinstance(response, str)
    with pytest.raises(ValueError, match=f"one of {room - 3} tokens and 4 of a response .* room for {room - 4}"):
        respond(model, ByteTokenizer(), ["q?", "q" * (room - 4)], 4)


def test_prediction_is_greedy_or_sampled_for_one_observation_or_several():
    model = enliven(policy())
    observations = padded([1, 2, 3], [4])
    greedy, _ = model.predict(observations, deterministic=True)
    expected = model.get_distribution(th.as_tensor(observations)).distribution.logits.argmax(dim=1)
    assert greedy.tolist() == expected.tolist()
    assert model.predict(observations[0], deterministic=True)[0] == greedy[0]
    assert model.predict(TokenContexts.from_padded(observations), deterministic=True)[0].tolist() == greedy.tolist()
    assert len({int(model.predict(observations[0])[0]) for _ in range(20)}) > 1


def test_the_likeliest_k_are_those_of_when_the_action_was_sampled():
    model = enliven(policy(top_k=3))
    observations = th.as_tensor(padded([1, 2, 3], [4]))
    logits = model.get_distribution(observations).distribution.logits
    likeliest = logits.topk(3, dim=1).indices
    for _ in range(20):
        actions, _, log_prob = model(observations)
        assert (likeliest == actions[:, None]).any(dim=1).all()
        assert th.allclose(log_prob, model.evaluate_actions(observations, actions)[1], atol=1e-4)
    enliven(model, seed=9)  # as an update does, before the next epoch
    logits = model.get_distribution(observations).distribution.logits
    frozen = logits.gather(1, likeliest).log_softmax(dim=1)
    place = (likeliest == actions[:, None]).nonzero()[:, 1]
    evaluated = model.evaluate_actions(observations, actions)[1]
    assert th.allclose(evaluated, frozen.gather(1, place[:, None]).squeeze(1), atol=1e-4)
    other = (likeliest[:, 0] + 1) % 256  # an expert's action, judged by the whole distribution if it is none of the k
    is_outside = ~(likeliest == other[:, None]).any(dim=1)
    whole = model.evaluate_actions(observations, other)[1]
    assert th.allclose(whole[is_outside], logits.gather(1, other[:, None]).squeeze(1)[is_outside], atol=1e-4)


@pytest.mark.parametrize("kwargs", [{}, {"lora": LORA}, {"temperature": 0.8, "top_k": 20}])
def test_ppos_first_ratio_is_one(kwargs):
    model = ppo(vec_env(), kwargs, n_epochs=1, batch_size=1000)
    enliven(model.policy)
    evaluate, ratios = model.policy.evaluate_actions, []

    def watch(observations, actions):
        values, log_prob, entropy = evaluate(observations, actions)
        old = model.rollout_buffer.log_probs[
            model.rollout_buffer.last_batch.rows % 12, model.rollout_buffer.last_batch.rows // 12
        ]
        ratios.append((log_prob.detach() - th.as_tensor(old)).exp())
        return values, log_prob, entropy

    model.policy.evaluate_actions = watch
    model.learn(24)
    assert len(ratios) == 1
    assert (ratios[0] - 1).abs().max() < 1e-3


def test_dropout_is_off_unless_it_is_asked_for():
    for dropout in (False, True):
        model = policy(lora={**LORA, "lora_dropout": 0.5}, dropout=dropout)
        model.set_training_mode(True)
        contexts = TokenContexts.of_sequence([1, 2, 3], [1, 2, 3])
        first, second = (model.evaluate_actions(contexts, th.tensor([2, 3, 4]))[1] for _ in range(2))
        assert th.equal(first, second) != dropout


# --- the reference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", [{"lora": {"r": 4}}, {"reference": True}])
def test_the_reference_is_the_model_as_it_was_loaded(kwargs):
    model = policy(**kwargs)
    contexts, actions = TokenContexts.of_sequence([1, 2, 3], [1, 2, 3]), th.tensor([2, 3, 4])
    before = model.evaluate_actions(contexts, actions)[1].detach()
    assert th.allclose(model.reference_kl(contexts), th.zeros(3), atol=1e-5)
    enliven(model)
    assert th.allclose(model.reference_log_prob(contexts, actions), before, atol=1e-5)
    own = model.get_distribution(contexts).distribution
    expected = th.distributions.kl_divergence(
        th.distributions.Categorical(logits=own.logits),
        th.distributions.Categorical(logits=model.reference_log_probs(contexts)),
    )
    model.evaluate_actions(contexts, actions)
    divergence = model.reference_kl(contexts, model.action_dist)
    assert th.allclose(divergence, expected, atol=1e-5)
    assert divergence.min() > 1e-3
    divergence.sum().backward()
    trained = [parameter for name, parameter in model.named_parameters() if parameter.requires_grad and "value" not in name]
    assert all(parameter.grad is not None for parameter in trained)


def test_a_whole_model_has_no_reference_unless_it_is_asked_for():
    with pytest.raises(RuntimeError, match=r"policy_kwargs=\{'reference': True\}"):
        policy().reference_log_prob(TokenContexts.of_sequence([1], [1]), th.tensor([2]))


# --- what is refused ----------------------------------------------------------------------------------


def test_only_token_level_environments_and_positive_temperatures_fit():
    import gymnasium as gym

    cart = gym.make("CartPole-v1")
    with pytest.raises(ValueError, match="expected those of TokenLevel"):
        CausalLMPolicy(cart.observation_space, gym.spaces.Box(0, 1), lambda _: 0.1)
    with pytest.raises(ValueError, match="temperature: got 0"):
        policy(temperature=0)
    with pytest.raises(ValueError, match=r"forbidden_tokens: got \(258,\), expected tokens from 0 to 257"):
        policy(forbidden_tokens=[258])
    with pytest.raises(ValueError, match=r"forbidden_tokens: got 1.5, expected a whole number"):
        policy(forbidden_tokens=[1.5])
    with pytest.raises(ValueError, match="forbidden_tokens: got all tokens"):
        policy(forbidden_tokens=range(258))


def test_models_that_cap_their_logits_are_refused(tmp_path):
    import transformers

    config = transformers.Gemma2Config(
        vocab_size=258,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does more to its logits than its output layer"):
        policy(model=str(tmp_path))


def test_models_that_are_too_small_are_refused(tmp_path):
    policy().save_pretrained(tmp_path)
    for spaces, message in [
        ({"context_length": 200}, "context_length: got 200, expected at most 24"),
        ({"tokens": 300}, "has 258 tokens, and the environment's tokenizer 300"),
    ]:
        tokenizer = type("Larger", (type(BYTES),), {"n_tokens": spaces.get("tokens", 258)})()
        env = token_env().env
        from nlf_sb3.language import TokenLevel

        env = TokenLevel(env, tokenizer, max_new_tokens=2, context_length=spaces.get("context_length", 24))
        with pytest.raises(ValueError, match=message):
            CausalLMPolicy(env.observation_space, env.action_space, lambda _: 0.1, model=str(tmp_path))


def test_the_distribution_is_the_models_own_at_a_temperature_without_what_is_forbidden():
    model = enliven(policy(temperature=0.5, forbidden_tokens=[7, 9]))
    logits = model.language_model(input_ids=th.tensor([[1, 2, 3]])).logits[0, -1] / 0.5
    logits[[7, 9]] = -np.inf
    probs = model.get_distribution(th.as_tensor(padded([1, 2, 3]))).distribution.probs[0]
    assert th.allclose(probs, logits.softmax(dim=0), atol=1e-6)
    assert (probs[[7, 9]] == 0).all()


def test_the_cache_is_no_wider_than_the_longest_row():
    model = policy()
    widths = []

    def look(module, args, kwargs):
        widths.extend(cache.get_seq_length() for cache in kwargs.values() if hasattr(cache, "get_seq_length"))

    model.language_model.model.register_forward_pre_hook(look, with_kwargs=True)
    for rows in ([[1] * 20, [2]], [[1] * 21, [2, 2]], [[5], [2, 2, 2]], [[5, 5], [2, 2, 2, 2]]):
        model(th.as_tensor(padded(*rows)))
    assert widths == [0, 20, 21, 0, 3]  # 0 where rows begin
