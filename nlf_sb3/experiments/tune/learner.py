"""Make a language model, its environment and its user of the options of nlf-sb3 tune."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, REINFORCE, Injection
from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.language import (
    ByteTokenizer,
    ConversationEnv,
    HuggingFaceTokenizer,
    SimulatedUser,
    TokenLevel,
    load_health_and_science,
    read_records,
    toy_records,
)
from nlf_sb3.language.adapters import folder_of_tokenizer, is_adapter_folder
from nlf_sb3.language.buffers import TokenEpisodeBuffer, TokenRolloutBuffer
from nlf_sb3.language.history import History, last_turn, render_history
from nlf_sb3.language.records import Record
from nlf_sb3.language.reference_kl import ReferenceKL
from nlf_sb3.language.refining import RefiningUser

TOY = "toy"
_N_TOY = 200
_HELD_OUT_EVERY = 4


class Split(NamedTuple):
    """
    Records to learn from, and others to ask.

    :param train: For training
    :param held_out: For evaluation
    """

    train: list[Record]
    held_out: list[Record]


def load_split(options: Tune) -> Split:
    """
    :param options: Of the command
    :return: The records
    :raises RecordsError: With file and line of what is no record
    :raises ValueError: If one of both parts is empty
    """
    records: Any
    if options.records == "health":
        records = load_health_and_science()
    elif options.records == TOY:
        records = toy_records(_N_TOY)
    else:
        records = read_records(options.records, options.on_error)
    held_out = [record for record in records if record.split == "held_out"]
    train = [record for record in records if record.split != "held_out"]
    if not held_out:
        held_out = train[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]
        train = [record for index, record in enumerate(train) if index % _HELD_OUT_EVERY != _HELD_OUT_EVERY - 1]
    if not train or not held_out:
        raise ValueError(f"records: got {len(train)} to learn from and {len(held_out)} held out, expected some of each.")
    return Split(train, held_out[: options.questions or None])


def tokenizer_of(options: Tune) -> Any:
    """
    :param options: Of the command
    :return: The model's tokenizer
    """
    if options.model == "tiny":
        return ByteTokenizer()
    return HuggingFaceTokenizer.load(folder_of_tokenizer(options.model), options.gguf_file)


def lora_of(options: Tune) -> dict[str, Any] | None:
    """
    :param options: Of the command
    :return: The adapter to make; None for none, and where a saved one goes on
    """
    if options.model == "tiny" or options.lora_r == 0 or is_adapter_folder(options.model):
        return None
    return {"r": options.lora_r, "lora_alpha": 2 * options.lora_r}


def prompt_of(options: Tune, history: History) -> Any:
    """
    :param options: Of the command
    :param history: The turns before a response
    :return: What the tokenizer takes: a conversation, or of the toy the bare question
    """
    if options.records == TOY:
        return last_turn(history)
    return render_history(history) if options.model == "tiny" else [dict(turn) for turn in history]


class Learner(NamedTuple):
    """
    Everything that one run trains.

    :param model: The algorithm's model
    :param tokenizer: Of its environments
    :param refiners: Users that have the model try again, one for each environment; empty for other methods
    """

    model: Any
    tokenizer: Any
    refiners: list[RefiningUser]


def make_learner(options: Tune, method: str, seed: int, records: list[Record]) -> Learner:
    """
    :param options: Of the command
    :param method: One of its methods
    :param seed: Of everything
    :param records: What the user asks
    :return: The learner
    """
    from nlf_sb3.language import CausalLMPolicy  # needs the extra lm

    tokenizer = tokenizer_of(options)
    refiners: list[RefiningUser] = []

    def make_env() -> TokenLevel:
        user: Any = SimulatedUser(records, shows_expected=method in ("joint", "injection"))
        if method in ("refine", "distil"):
            user = _refining(user, options, method)
            refiners.append(user)
        is_toy = options.records == TOY
        return TokenLevel(
            ConversationEnv(user, render=last_turn if is_toy else render_history),
            tokenizer,
            max_new_tokens=options.max_new_tokens,
            context_length=options.context_length,
            prompt=None if is_toy or options.model == "tiny" else "history",
        )

    env = DummyVecEnv([make_env] * options.batch)
    is_ppo = options.algorithm == "PPO"
    of_the_algorithm: dict[str, Any] = (
        {"n_steps": options.max_new_tokens, "n_epochs": 2, "rollout_buffer_class": TokenRolloutBuffer, "gae_lambda": 1.0}
        if is_ppo
        else {"n_episodes": options.batch, "rollout_buffer_class": TokenEpisodeBuffer}
    )
    model = (PPO if is_ppo else REINFORCE)(
        CausalLMPolicy,
        env,
        learning_rate=options.lr,
        batch_size=min(options.minibatch, options.batch),
        gamma=1.0,
        alpha=options.alpha if method in ("joint", "refine") else 1.0,
        injection=Injection(segments="imitate" if method in ("joint", "refine") else "inject"),
        auxiliary_losses=[ReferenceKL(options.kl_coef)] if options.kl_coef else [],
        policy_kwargs=_policy_kwargs(options, seed),
        seed=seed,
        device="cpu",
        **of_the_algorithm,
    )
    for refiner in refiners:
        refiner.attach(model.policy, tokenizer, options.max_new_tokens)
    return Learner(model, tokenizer, refiners)


def _refining(user: Any, options: Tune, method: str) -> RefiningUser:
    """A user who has the model try again."""
    return RefiningUser(
        user,
        "satisfying" if method == "refine" else "all",
        partial(prompt_of, options),
        max_attempts=options.attempts,
        asks=options.attempts_ask,
        temperature=options.attempts_temperature,
    )


def _policy_kwargs(options: Tune, seed: int) -> dict[str, Any]:
    return {
        "model": options.model,
        "gguf_file": options.gguf_file,
        "lora": lora_of(options),
        "temperature": options.temperature,
        "reference": options.kl_coef > 0,
        "model_seed": seed,
    }
