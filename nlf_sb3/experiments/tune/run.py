"""One run: train a language model by one method with one seed, and ask held-out questions as it goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.experiments.tune.learner import Learner, Split, make_learner, prompt_of
from nlf_sb3.experiments.tune.warm_up import warm_up
from nlf_sb3.language import Criterion, unrelated_text
from nlf_sb3.language.responding import perplexity, respond


class Asks(BaseCallback):
    """
    Evaluates at the start of rollouts, between updates, and ends training after so many responses.

    :param learner: What trains
    :param options: Of the command
    :param split: Records
    :param tell: Gets the number of responses so far
    """

    def __init__(self, learner: Learner, options: Tune, split: Split, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._learner = learner
        self._options = options
        self._held_out = split.held_out
        self._tell = tell
        self._started = time.perf_counter()
        self._evaluating = 0.0
        self._next = 0
        self._scores: list[float] = []
        self.n_responses = 0
        self.rows: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    def _on_training_start(self) -> None:
        self._own_schedule = self.model.lr_schedule
        if self._options.lr_schedule == "linear":  # SB3's would fall with tokens, of which nobody knows how many there will be
            self.model.lr_schedule = self._falling_rate

    def _on_training_end(self) -> None:
        self.model.lr_schedule = self._own_schedule  # it is saved with the model

    def _falling_rate(self, progress_remaining: float) -> float:
        """The learning rate of the update after the rollout at hand, whose responses are counted already."""
        share = (self.n_responses - self._options.batch) / self._options.responses
        return self._options.lr * (1.0 - max(share, 0.0))

    def _on_rollout_start(self) -> None:
        # The last rollout's update is made by now. No rollout begins that isn't a whole batch within the budget; one that has
        # begun takes in every response that ends at its last step, and may go a few beyond.
        self._is_over = self.n_responses + self._options.batch > self._options.responses
        if self.n_responses >= self._next and not self._is_over:
            self.evaluate()
            self._next = self.n_responses + (self._options.evaluate_every or self._options.responses)

    def _on_step(self) -> bool:
        if self._is_over:
            return False
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            if done:
                self.n_responses += 1
                self._scores.append(float(info["feedback"].score) if "feedback" in info else 0.0)
        self._tell(self.n_responses)
        return True

    def evaluate(self) -> None:
        """Ask every held-out question, greedily."""
        begun = time.perf_counter()
        learner, options = self._learner, self._options
        policy = learner.model.policy
        prompts = [prompt_of(options, record.history) for record in self._held_out]
        responses = respond(policy, learner.tokenizer, prompts, options.max_new_tokens)
        scores = [
            Criterion(record.criterion or {}).satisfied_by(response)
            for record, response in zip(self._held_out, responses, strict=True)
        ]
        self.rows.append(
            {
                "responses": self.n_responses,
                "satisfied": int(np.sum(scores)),
                "asked": len(scores),
                "train_score": float(np.mean(self._scores[-4 * options.batch :])) if self._scores else float("nan"),
                "second_attempts": sum(refiner.n_attempts for refiner in learner.refiners),
                "perplexity": perplexity(policy, learner.tokenizer, unrelated_text(), options.context_length),
                "seconds": begun - self._started - self._evaluating,
            }
        )
        for record, response, score in zip(self._held_out, responses, scores, strict=True):
            answer = {"responses": self.n_responses, "asked": record.history[-1]["content"], "answered": response}
            self.answers.append({**answer, "satisfied": bool(score)})
        self._evaluating += time.perf_counter() - begun


def perform(options: Tune, method: str, seed: int, split: Split, folder: Path, tell: Callable[[int], None]) -> None:
    """
    :param options: Of the command
    :param method: One of its methods
    :param seed: Of everything
    :param split: Records
    :param folder: Where the run's files go; ``rows.json`` comes last, and says that it is finished
    :param tell: Gets the number of responses so far
    """
    folder.mkdir(parents=True, exist_ok=True)
    learner = make_learner(options, method, seed, split.train)
    if options.warm_up:
        warm_up(learner, options, split.train, seed)
    asks = Asks(learner, options, split, tell)
    # Steps are tokens, more than are ever needed: the callback ends training by responses.
    learner.model.learn((options.responses + options.batch) * options.max_new_tokens, callback=asks)
    asks.evaluate()
    if options.save_models:
        learner.model.save(folder / "model")
        theirs = getattr(learner.tokenizer, "tokenizer", None)  # bytes have none
        learner.model.policy.save_pretrained(str(folder / "pretrained"), theirs)
    with (folder / "responses.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in asks.answers)
    rows = [{"method": method, "seed": seed, **row} for row in asks.rows]
    unfinished = folder / "rows.json.part"
    unfinished.write_text(json.dumps(rows, indent=1))
    unfinished.rename(folder / "rows.json")
