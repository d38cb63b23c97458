"""Clone records' own responses before a run, so that a model from scratch has something to say."""

from __future__ import annotations

import numpy as np
import torch as th

from nlf_sb3.experiments.tune.command import Tune
from nlf_sb3.experiments.tune.learner import Learner, prompt_of
from nlf_sb3.language import TokenLevel
from nlf_sb3.language.records import Record
from nlf_sb3.observations import join_observations
from nlf_sb3.seeding import derived_generator


def warm_up(learner: Learner, options: Tune, records: list[Record], seed: int, n_updates: int = 150) -> None:
    """
    Clone the records' own responses, some of them the expected ones, by maximum likelihood.

    :param learner: What to train
    :param options: ``warm_up`` is the share of expected responses
    :param records: Each with a response and an expected one
    :param seed: Chooses them
    :param n_updates: Optimiser steps, of 32 sequences each
    """
    model, rng = learner.model, derived_generator(seed, "warm-up")
    token_level = model.get_env().envs[0]
    while not isinstance(token_level, TokenLevel):
        token_level = token_level.env
    policy = model.policy
    optimizer = th.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=3e-3)
    policy.set_training_mode(True)
    for _ in range(n_updates):
        chosen = [records[index] for index in rng.integers(len(records), size=32)]
        sourced = rng.random(32) < options.warm_up
        segments = []
        for record, is_sourced in zip(chosen, sourced, strict=True):
            response = record.expected_response if is_sourced else record.response
            segments.append(token_level.segment_of(prompt_of(options, record.history), response))
        observations = join_observations([segment.observations for segment in segments])
        actions = th.as_tensor(np.concatenate([segment.actions for segment in segments]))
        _, log_prob, _ = policy.evaluate_actions(observations, actions)
        optimizer.zero_grad()
        (-log_prob.mean()).backward()
        optimizer.step()
