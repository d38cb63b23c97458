"""The options of nlf-sb3 tune."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

Method = Literal["reinforce", "joint", "injection", "refine", "distil"]


@dataclass
class Tune:
    """
    Fine-tune a language model from a user who scores, explains and shows the expected response.

    The user is simulated from records: it scores a response 1 if it meets the record's criterion. Before training, as it goes
    on and at its end, held-out records are asked greedily. Writes into OUT: evaluations.csv, responses.jsonl (what was
    answered before and after), summary.json, curve.png, REPORT.md, and each run's model. Interrupt it whenever you like: with
    --resume it repeats no finished run.

    For example: nlf-sb3 tune --model tiny --records toy --warm-up 0.1 --methods reinforce joint --responses 400
    """

    model: str
    """Folder or name on the hub of a causal language model, or tiny: two layers and bytes, from scratch. The folder of a saved
    adapter goes on from it."""
    records: str = "health"
    """A JSONL file of records, health (158 questions of everyday health and science) or toy (made-up words). Records whose
    split is held_out are for evaluation; of a file without any, every fourth."""
    methods: tuple[Method, ...] = ("joint",)
    """reinforce: the score alone. joint: expected responses are imitated beside it. injection: they are injected as episodes.
    refine and distil do without expected responses: the model tries again, given the user's words; what satisfies then is
    imitated (refine), or every second attempt is injected with its own score (distil)."""
    algorithm: Literal["REINFORCE", "PPO"] = "REINFORCE"
    """Of this package."""
    seeds: int = 1
    """Seeds of each method: 1, 2, 3, 5, 8, then the other integers."""
    responses: int = 160
    """Responses of the agent in each run. An update for which fewer than BATCH of them are left is not made."""
    batch: int = 8
    """Responses for each update, and environments side by side."""
    minibatch: int = 2
    """Responses for each optimiser step."""
    lr: float = 1e-3
    """Learning rate, of Adam."""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """linear: it falls to nothing in a line, until RESPONSES are over."""
    alpha: float = 0.2
    """Weight of the policy gradient where expected responses are imitated."""
    attempts: int = 1
    """Second attempts after each response that doesn't satisfy, made side by side and scored until one does
    (refine, distil)."""
    attempts_ask: Literal["next_turn", "same_turn"] = "next_turn"
    """How the model is asked again: with the user's words as the next turn, after its response, or at the question's end."""
    attempts_temperature: float | None = None
    """Of second attempts; by default that of responses."""
    kl_coef: float = 0.0
    """Weight of the divergence from the model before training."""
    lora_r: int = 8
    """Rank of the adapter that is trained; 0 trains the whole model. The tiny model is always trained whole, and a saved
    adapter goes on with the rank that it has."""
    temperature: float = 1.0
    """Of the responses in training."""
    max_new_tokens: int = 64
    """The longest response."""
    context_length: int = 256
    """Room for a prompt and its response."""
    gguf_file: str | None = None
    """Name of a GGUF file in MODEL's folder (needs the package gguf)."""
    warm_up: float = 0.0
    """Clone the records' own unsatisfactory responses first, and in this share of them the expected one: what a model from
    scratch needs before anybody can be satisfied with it."""
    evaluate_every: int = 0
    """Responses between two evaluations; 0 evaluates before training and after it."""
    questions: int = 0
    """Held-out records in an evaluation; 0 for all."""
    on_error: Literal["raise", "skip"] = "raise"
    """What a line of RECORDS that is none does: raise names file and line, skip goes on with the good ones."""
    save_models: bool = False
    """Keep each run's model, as a .zip of Stable-Baselines3 and in Hugging Face's own format."""
    out: Path = Path("results/tune")
    """Folder for everything that is written."""
    resume: bool = False
    """Go on with the runs that OUT holds."""

    needs: ClassVar[tuple[str, ...]] = ("matplotlib", "pandas", "rich", "scipy")

    def run(self) -> None:
        """Run it."""
        from rich.console import Console

        from nlf_sb3.experiments.tune.tune import tune

        tune(self, Console())
