"""Updates of a language model equal steps written by hand, and a tiny one learns from expected responses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch as th

from nlf_sb3 import Imitation, Injection, LabelReplay

pytest.importorskip("transformers")

from helpers import parameters_of, twin_of
from language_helpers import BYTES, ScriptedEnv, ppo, reinforce, token_env, vec_env
from learners import terms_of
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from nlf_sb3 import Demonstrations, Feedback, FeedbackWrapper
from nlf_sb3.language import TokenContexts, TokenLevel

SGD = {"optimizer_class": th.optim.SGD}
EXPECTED = {"expected_response": "ok"}
MAX_GRAD_NORM = 0.5


class Before(BaseCallback):
    """What an update starts from: a twin of the policy, and the rollout's rows and episodes of the expert's."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        rows = buffer.row_indices()
        self.policy = twin_of(self.model.policy)
        self.contexts = buffer.take_rows(buffer.observations, rows)
        self.actions = th.as_tensor(buffer.take_rows(buffer.actions, rows)).flatten()
        self.advantages = th.as_tensor(buffer.take_rows(buffer.advantages, rows))
        self.old_log_prob = th.as_tensor(buffer.take_rows(buffer.log_probs, rows))
        self.returns = th.as_tensor(buffer.take_rows(buffer.returns, rows))
        self.segments = [segment for segment, _ in buffer.segments]


def log_probs(policy, contexts, actions):
    """log pi of each row, by a forward pass of its own over nothing but its tokens."""
    rows = []
    for tokens, action in zip(contexts, actions, strict=True):
        logits = policy.language_model(input_ids=th.as_tensor(np.array(tokens))[None].long()).logits[0, -1]
        rows.append(logits.log_softmax(dim=0)[int(action)])
    return th.stack(rows)


def of_expert(before):
    """Rows of all the expert's episodes."""
    contexts = [tokens for segment in before.segments for tokens in segment.observations]
    return contexts, np.concatenate([segment.actions for segment in before.segments])


def step(policy, loss):
    policy.optimizer.zero_grad()
    loss.backward()
    th.nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)
    policy.optimizer.step()


def difference(model, before):
    return float((parameters_of(model.policy) - parameters_of(before.policy)).abs().max())


def one_update(model):
    before = Before()
    model.learn(1, callback=before)
    return before


@pytest.mark.parametrize("conversation", [("hi",), ("hi", "and then?")])
def test_a_joint_step_on_language_is_the_loss_written_by_hand(conversation):
    model = reinforce(
        vec_env(2, conversation, info=EXPECTED),
        SGD,
        alpha=0.3,
        injection=Injection(segments="imitate"),
        learning_rate=0.5,
        max_grad_norm=MAX_GRAD_NORM,
    )
    before = one_update(model)
    policy_gradient = -(before.advantages * log_probs(before.policy, before.contexts, before.actions)).mean()
    imitation = -log_probs(before.policy, *of_expert(before)).mean()
    assert len(before.segments) == 4 * len(conversation)
    assert len(before.contexts.distinct()[0]) == 4 * len(conversation)
    step(before.policy, 0.3 * policy_gradient + 0.7 * imitation)
    assert difference(model, before) < 1e-5
    assert model.logger.name_to_value["train/imitation_loss"] == pytest.approx(imitation.item(), abs=1e-5)


def test_injected_expected_responses_are_the_policy_gradient_written_by_hand():
    model = reinforce(
        vec_env(2, info=EXPECTED),
        SGD,
        injection="plain",
        normalize_returns=False,
        learning_rate=0.5,
        max_grad_norm=MAX_GRAD_NORM,
    )
    before = one_update(model)
    n = len(before.actions)
    own = -(before.advantages * log_probs(before.policy, before.contexts, before.actions)).sum() / n
    experts = -log_probs(before.policy, *of_expert(before)).sum() / n  # each has return 1 in every row
    step(before.policy, own + experts)
    assert difference(model, before) < 1e-5


def test_a_joint_ppo_step_on_language_is_the_loss_written_by_hand():
    model = ppo(
        vec_env(2, info=EXPECTED),
        {**SGD, "lora": {"r": 4, "init_lora_weights": False}},
        alpha=0.3,
        injection=Injection(segments="imitate"),
        learning_rate=0.5,
        max_grad_norm=MAX_GRAD_NORM,
        ent_coef=0.01,
        batch_size=1000,
        n_steps=24,
    )
    before = one_update(model)
    policy, advantages = before.policy, before.advantages
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    log_prob = log_probs(policy, before.contexts, before.actions)
    values, _, _ = policy.evaluate_actions(before.contexts, before.actions)
    logits = policy.get_distribution(before.contexts).distribution.logits
    entropy = -(logits.exp() * logits).sum(dim=1).mean()
    policy_gradient = -(advantages * (log_prob - before.old_log_prob).exp()).mean()
    imitation = -log_probs(policy, *of_expert(before)).mean()
    value_loss = ((values.flatten() - before.returns) ** 2).mean()
    step(policy, 0.3 * policy_gradient + 0.7 * imitation - 0.01 * entropy + 0.5 * value_loss)
    assert difference(model, before) < 1e-5


def test_minibatches_are_one_forward_pass_over_their_sequences_and_one_over_the_experts():
    model, seen = reinforce(vec_env(2, info=EXPECTED), batch_size=2, injection=Injection(segments="imitate")), []
    before = Before()
    train = model.train

    def watched_train():
        body = model.policy.language_model.model
        hook = body.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        train()
        hook.remove()

    model.train = watched_train
    model.learn(1, callback=before)
    assert len(seen) == 4
    assert seen[::2] == [2, 2]
    # The expert's four sequences are dealt over two minibatches; one that is cut counts in both.
    assert sum(seen[1::2]) in (4, 5)


def test_expected_responses_are_remembered():
    model = reinforce(
        vec_env(2, info=EXPECTED),
        injection=Injection(segments="imitate"),
        imitation=Imitation(replay=LabelReplay(20, per_step=10.0)),
    )
    model.learn(1)
    assert len(model.feedback.labelling.memory) == 4 * len("ok.")
    drawn = model.feedback.labelling.memory.draw(3, np.random.default_rng(0))
    assert isinstance(drawn.observations, TokenContexts)
    terms, before = terms_of(model), Before()
    model.learn(1, callback=before, reset_num_timesteps=False)
    remembered = 12
    assert terms[0].imitation.n_labelled == remembered + 3 * len(before.segments)


def test_demonstrations_of_texts_are_imitated():
    env = token_env()
    demonstrations = Demonstrations.from_segments([env.segment_of("hi", "ok"), env.segment_of("hello there", "ok")])
    model = reinforce(vec_env(), learning_rate=5e-3, demonstrations=demonstrations, alpha=0.1)
    model.learn(400)
    observation, _ = env.reset()
    assert respond(model, env, observation) == "ok"


def test_an_expected_response_that_is_too_long_is_refused_or_skipped():
    long = {"expected_response": "longer than that"}
    with pytest.raises(ValueError, match=r"environment \d, step \d+: expected_response: got 17 tokens"):
        reinforce(vec_env(info=long)).learn(1)
    model = reinforce(vec_env(info=long), on_error="skip")
    model.learn(1)
    assert model.feedback.statistics.skipped == 4


def test_plain_training_is_that_of_the_same_rollout_without_experts():
    with_segments = reinforce(vec_env(info=EXPECTED), alpha=1.0, injection=Injection(segments="imitate")).learn(60)
    without = reinforce(vec_env()).learn(60)
    assert th.equal(parameters_of(with_segments.policy), parameters_of(without.policy))


@pytest.mark.parametrize("make", [reinforce, ppo])
def test_the_same_seed_gives_the_same_weights(make):
    models = [make(vec_env(info=EXPECTED), {"lora": {"r": 2}}, seed=seed).learn(40) for seed in (3, 3, 4)]
    first, second, other = (parameters_of(model.policy) for model in models)
    assert th.equal(first, second)
    assert not th.equal(first, other)


def respond(model, env, observation):
    is_over = False
    while not is_over:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, is_over, _, info = env.step(action)
    return info["response"]


@pytest.mark.parametrize(("make", "segments"), [(reinforce, "imitate"), (reinforce, "inject"), (ppo, "imitate")])
def test_a_tiny_model_learns_what_is_expected(make, segments):
    own = {"n_episodes": 8} if make is reinforce else {"n_steps": 12, "batch_size": 8}
    model = make(vec_env(8, info=EXPECTED, right="ok"), learning_rate=5e-3, injection=Injection(segments=segments), **own)
    model.learn(800)
    for prompt in ("hi", "hello there"):
        env = token_env((prompt,))
        observation, _ = env.reset()
        assert respond(model, env, observation) == "ok", prompt


class Passes(BaseCallback):
    """How many sequences each pass of the language model over several of them has seen."""

    def _on_training_start(self) -> None:
        self.sequences: list[int] = []
        self.model.policy.language_model.model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, args, kwargs):
        if not kwargs["use_cache"]:
            self.sequences.append(len(kwargs["input_ids"]))

    def _on_step(self) -> bool:
        return True


def test_demonstrations_are_drawn_in_whole_sequences():
    env = token_env()
    segments = [env.segment_of(f"{number}", "abcde") for number in range(100)]
    model = reinforce(vec_env(), demonstrations=Demonstrations.from_segments(segments), n_episodes=2)
    passes, before = Passes(), Before()
    model.learn(1, callback=[passes, before])
    agents, demonstrated = passes.sequences
    assert agents == 2
    assert demonstrated == -(-len(before.actions) // 6)


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_rules_logs_and_workers_work_on_language(algorithm):
    import nlf_sb3
    from nlf_sb3.label_weights import TrustGate
    from nlf_sb3.language import CausalLMPolicy, TokenRolloutBuffer

    env = SubprocVecEnv([partial(token_env, info=EXPECTED)] * 2, start_method="fork")
    own = {"batch_size": 2, "n_epochs": 2} if algorithm == "PPO" else {}
    model = getattr(nlf_sb3, algorithm)(
        CausalLMPolicy,
        env,
        n_steps=12,
        rollout_buffer_class=TokenRolloutBuffer,
        injection=Injection(segments="imitate"),
        imitation=Imitation(weights=[TrustGate()]),
        log_gradients=True,
        seed=1,
        **own,
    )
    model.learn(48)
    env.close()
    assert model.logger.name_to_value["train/imitation_gradient_norm"] > 0
    assert np.isfinite(parameters_of(model.policy)).all()


def test_teachers_of_texts_stand_inside():
    def one():
        texts = FeedbackWrapper(
            ScriptedEnv(), lambda transition: Feedback(score=2.0, text="thank you"), score_as_reward="replace"
        )
        return TokenLevel(texts, BYTES, max_new_tokens=6, context_length=24)

    model = reinforce(DummyVecEnv([one] * 2))
    before = one_update(model)
    assert before.returns.unique().tolist() == [2.0]
    assert model.feedback.statistics.total_records == 4


def test_normalised_observations_are_refused():
    with pytest.raises(ValueError, match="expected tokens"):
        reinforce(VecNormalize(vec_env())).learn(1)
    reinforce(VecNormalize(vec_env(), norm_obs=False)).learn(1)
