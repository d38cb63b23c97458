"""Experts' labels as a budget: teachers that stop answering, and learners that stop asking."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch as th
from helpers import Capture as Rollouts
from helpers import (
    CategoricalExpert,
    GaussianExpert,
    ToyEnv,
    batches_of,
    box_expert,
    largest_difference,
    sb3_terms,
    step_by_hand,
    teacher,
)
from learners import ALGORITHMS, learner
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import nlf_sb3
from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, Imitation
from nlf_sb3.teachers import BudgetTeacher, CallableExpert, ExpertTeacher, ScoreTeacher, TextTeacher, Transition

ForkedWorkers = partial(SubprocVecEnv, start_method="fork")
SGD = {"optimizer_class": th.optim.SGD, "net_arch": [16]}


def transition(step=0):
    return Transition(np.float32([step, 0, 0]), np.zeros(2, np.float32), 0.0, np.zeros(3, np.float32), False, False, {}, step)


def answers(budget, n):
    return [budget(transition(step)) for step in range(n)]


# --- a teacher's budget -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inner",
    [
        ExpertTeacher(CallableExpert(box_expert)),
        ScoreTeacher(lambda step: 0.5),
        TextTeacher(lambda step: "well done"),
        [ScoreTeacher(lambda step: 0.5), TextTeacher(lambda step: "well done")],
    ],
    ids=["expert", "score", "text", "two at once"],
)
def test_it_answers_until_the_budget_is_spent_whatever_the_answers_hold(inner):
    budget = BudgetTeacher(inner, 3)
    given = answers(budget, 6)
    assert [isinstance(answer, Feedback) for answer in given] == [True] * 3 + [False] * 3
    assert budget.n_left == 0


def test_silence_costs_nothing():
    asked = []
    budget = BudgetTeacher(ScoreTeacher(lambda step: asked.append(step.step) or (1.0 if step.step % 3 == 2 else None)), 2)
    assert [answer is not None for answer in answers(budget, 12)] == [step in (2, 5) for step in range(12)]
    assert asked == [0, 1, 2, 3, 4, 5]  # nobody is asked whose answer would not count


def test_a_failing_teacher_has_not_answered():
    budget = BudgetTeacher(lambda step: "not feedback", 2)
    with pytest.raises(FeedbackError, match="got str, expected Feedback"):
        budget(transition())
    assert budget.n_left == 2


def test_a_probability_spreads_the_budget_over_more_steps():
    budget = BudgetTeacher(ScoreTeacher(lambda step: 1.0), 4000, probability=0.2)
    flags = np.array([answer is not None for answer in answers(budget, 4000)])
    assert abs(flags.mean() - 0.2) < 4 * np.sqrt(0.16 / 4000)
    assert budget.n_left == 4000 - flags.sum()


def test_seeding_chooses_the_same_steps_again_and_refills_nothing():
    budget = BudgetTeacher(ScoreTeacher(lambda step: 1.0), 100, probability=0.5)
    runs = []
    for seed in (3, 3, 4):
        budget.seed(seed)
        runs.append([answer is not None for answer in answers(budget, 20)])
    assert runs[0] == runs[1] != runs[2]
    assert budget.n_left == 100 - sum(map(sum, runs))


def test_the_inner_teacher_is_seeded_too():
    inner = ExpertTeacher(CallableExpert(box_expert), probability=0.5)
    budget = BudgetTeacher(inner, 100)
    runs = []
    for seed in (3, 3, 4):
        budget.seed(seed)
        runs.append([answer is not None for answer in answers(budget, 20)])
    assert runs[0] == runs[1] != runs[2]


def test_one_of_several_teachers_may_have_a_budget():
    env = FeedbackWrapper(
        ToyEnv(lengths=(9, 9)), [ScoreTeacher(lambda step: 1.0), BudgetTeacher(ExpertTeacher(CallableExpert(box_expert)), 2)]
    )
    env.reset(seed=0)
    given = [env.step(np.zeros(2, np.float32))[4]["feedback"] for _ in range(5)]
    assert [answer.expert_action is not None for answer in given] == [True, True, False, False, False]
    assert all(answer.score == 1.0 for answer in given)


def test_a_copy_has_what_was_left_and_spends_its_own():
    budget = BudgetTeacher(ExpertTeacher(GaussianExpert(), probability=0.9), 5, probability=0.7)
    answers(budget, 4)
    left = budget.n_left
    assert 0 < left < 5
    for again in (pickle.loads(pickle.dumps(budget)), copy.deepcopy(budget)):
        assert again.n_left == left
        ahead = copy.deepcopy(budget)
        for mine, theirs in zip(answers(ahead, 10), answers(again, 10), strict=True):
            assert (mine is None) == (theirs is None)
            assert mine is None or np.array_equal(mine.expert_action, theirs.expert_action)
    assert budget.n_left == left


@pytest.mark.parametrize(("n_labels", "n_parts", "expected"), [(10, 3, [4, 3, 3]), (2, 4, [1, 1, 0, 0]), (6, 2, [3, 3])])
def test_a_divided_budget_is_the_whole_in_parts(n_labels, n_parts, expected):
    parts = BudgetTeacher(ScoreTeacher(lambda step: 1.0), n_labels).divided(n_parts)
    assert [part.n_left for part in parts] == expected
    assert [sum(answer is not None for answer in answers(part, 20)) for part in parts] == expected


def test_what_is_spent_is_not_divided():
    budget = BudgetTeacher(ScoreTeacher(lambda step: 1.0), 7)
    answers(budget, 3)
    assert [part.n_left for part in budget.divided(2)] == [2, 2]


@pytest.mark.parametrize(
    ("vec_env", "is_divided", "n_labels"),
    [
        (DummyVecEnv, False, 10),
        (ForkedWorkers, False, 20),
        (ForkedWorkers, True, 10),
        (DummyVecEnv, True, 10),
    ],
)
def test_worker_processes_have_a_budget_each_and_may_have_parts_of_one(vec_env, is_divided, n_labels):
    budget = BudgetTeacher(ExpertTeacher(CallableExpert(box_expert)), 10)
    parts = budget.divided(2) if is_divided else [budget, budget]
    env = vec_env([lambda part=part: FeedbackWrapper(ToyEnv(), part) for part in parts])
    model = learner("A2C", env, n_steps=16).learn(64)
    env.close()
    assert model.num_expert_queries == n_labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_labels": -1}, "n_labels: got -1, expected a whole number of at least 0"),
        ({"n_labels": 2.5}, "n_labels: got 2.5, expected a whole number"),
        ({"n_labels": True}, "n_labels: got True, expected a whole number"),
        ({"n_labels": 3, "probability": 1.5}, r"probability: got 1.5, expected a number in \[0, 1\]"),
    ],
)
def test_budgets_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BudgetTeacher(ScoreTeacher(lambda step: 1.0), **arguments)


def test_what_can_not_be_asked_is_refused():
    with pytest.raises(FeedbackError, match="expected a function from a Transition"):
        BudgetTeacher(3, 5)
    with pytest.raises(ValueError, match="n_parts: got 0, expected a whole number of at least 1"):
        BudgetTeacher(ScoreTeacher(lambda step: 1.0), 5).divided(0)


# --- a learner's budget -------------------------------------------------------------------------------


class Asked(GaussianExpert):
    """Remembers the observations that it was asked about."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def act(self, observations):
        self.asked.append(observations)
        return self.mean(observations)

    def distribution(self, observations):
        self.asked.append(observations)
        return super().distribution(observations)


def toys(n_envs=2):
    return DummyVecEnv([ToyEnv] * n_envs)


@pytest.mark.parametrize("imitation", ["nll", "kl"])
def test_an_expert_is_asked_no_more_once_the_budget_is_spent(imitation, logged):
    expert = Asked()
    settings = {"n_steps": 16, "imitation": imitation, "max_expert_queries": 75}
    model = learner("A2C", toys(), expert=expert, **settings)
    values = logged(model)
    model.learn(32 * 5, log_interval=1)
    assert [len(rows) for rows in expert.asked] == [32, 32, 11]
    assert model.num_expert_queries == 75
    assert values("feedback/expert_queries") == [32, 64, 75, 75, 75]


@pytest.mark.parametrize("imitation", ["nll", "kl"])
def test_the_last_labels_are_spread_evenly_over_the_rollout(imitation):
    counts = np.zeros((2, 16))
    for seed in range(60):
        expert = Asked()
        settings = {"n_steps": 16, "imitation": imitation, "max_expert_queries": 8, "learning_rate": 0.0}
        capture = Rollouts()
        learner("A2C", toys(), expert=expert, seed=seed, **settings).learn(32, callback=capture)
        places = {row.tobytes(): place for place, row in enumerate(capture.rollouts[0].observations.numpy())}
        (asked,) = expert.asked
        chosen = [places[row.tobytes()] for row in np.asarray(asked)]
        assert len(set(chosen)) == 8
        assert chosen == sorted(chosen)
        counts.reshape(-1)[chosen] += 1
    # Each row is chosen in a quarter of 60 runs: 15 of them, with a deviation of 3.4.
    assert 2 <= counts.min() <= counts.max() <= 30
    halves = counts[:, :8].sum(), counts[:, 8:].sum()
    assert abs(halves[0] - halves[1]) < 4 * np.sqrt(480 * 24 / 31)


def kl_by_hand(policy, observations):
    """KL of the Gaussian expert from a policy of two dimensions, row by row."""
    normal = policy.get_distribution(observations).distribution
    mean, std = th.as_tensor(box_expert(observations.numpy())), th.as_tensor(GaussianExpert.stds)
    return (th.log(normal.stddev / std) + (std**2 + (mean - normal.mean) ** 2) / (2 * normal.stddev**2) - 0.5).sum(dim=1)


@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("imitation", ["nll", "kl"])
def test_an_update_on_part_of_a_rollout_is_the_mean_over_what_is_labelled(imitation, with_labels):
    expert, is_own = Asked(), lambda observation: bool(observation[0] > 0.3) and with_labels
    one = teacher(lambda observations: 0.5 * box_expert(observations), labels=is_own)
    env = DummyVecEnv([lambda: FeedbackWrapper(ToyEnv(), one) if with_labels else ToyEnv()] * 2)
    settings = {"n_steps": 16, "learning_rate": 0.1, "max_grad_norm": 0.05, "use_rms_prop": False, "policy_kwargs": SGD}
    model = learner("A2C", env, expert=expert, imitation=imitation, alpha=0.3, max_expert_queries=20, **settings)
    capture = Rollouts()
    model.learn(32, callback=capture)
    (rollout,) = capture.rollouts
    policy, observations = rollout.policy, rollout.observations
    own = th.as_tensor([is_own(row) for row in observations.numpy()])
    (asked,) = expert.asked
    asked = {row.tobytes() for row in np.asarray(asked)}
    of_expert = th.as_tensor([row.tobytes() in asked for row in observations.numpy()])
    assert not (own & of_expert).any()
    assert len(asked) == 20 - int(own.sum())
    assert with_labels == (0 < int(own.sum()) < 20)
    distribution = policy.get_distribution(observations)
    of_labels = -distribution.log_prob(0.5 * th.as_tensor(box_expert(observations.numpy())))
    of_answers = -distribution.log_prob(th.as_tensor(box_expert(observations.numpy())))
    of_answers = kl_by_hand(policy, observations) if imitation == "kl" else of_answers
    imitation_loss = (of_labels[own].sum() + of_answers[of_expert].sum()) / 20
    policy_loss, other_terms = sb3_terms(model, rollout, batches_of(model, rollout)[0])
    step_by_hand(policy, 0.3 * policy_loss + other_terms + 0.7 * imitation_loss, 0.05)
    assert largest_difference(model.policy, policy) < 1e-6
    assert model.num_expert_queries == 20


@pytest.mark.parametrize("imitation", ["nll", "kl"])
def test_rules_that_weigh_labels_see_which_rows_the_budget_paid_for(imitation):
    seen = []

    def by_place(rollout):
        seen.append(rollout)
        return 1.0 + np.arange(32) / 8

    expert = Asked()
    settings = {"n_steps": 16, "learning_rate": 0.1, "max_grad_norm": 0.05, "use_rms_prop": False, "policy_kwargs": SGD}
    settings |= {"imitation": Imitation(imitation, weights=[by_place]), "alpha": 0.3, "max_expert_queries": 20}
    model = learner("A2C", toys(), expert=expert, **settings)
    capture = Rollouts()
    model.learn(32, callback=capture)
    (rollout,), (labelled,), (asked,) = capture.rollouts, seen, expert.asked
    asked = {row.tobytes() for row in np.asarray(asked)}
    is_paid = np.array([row.tobytes() in asked for row in rollout.observations.numpy()])
    assert is_paid.sum() == 20
    assert np.array_equal(labelled.is_labelled, is_paid)
    answers = th.as_tensor(box_expert(rollout.observations.numpy()))
    assert labelled.labels[is_paid].numpy() == pytest.approx(answers[is_paid].numpy())
    policy = rollout.policy
    divergences = -policy.get_distribution(rollout.observations).log_prob(answers)
    divergences = kl_by_hand(policy, rollout.observations) if imitation == "kl" else divergences
    weights = th.as_tensor((1.0 + np.arange(32) / 8) * is_paid, dtype=th.float32)
    policy_loss, other_terms = sb3_terms(model, rollout, batches_of(model, rollout)[0])
    step_by_hand(policy, 0.3 * policy_loss + other_terms + 0.7 * (weights * divergences).sum() / 20, 0.05)
    assert largest_difference(model.policy, policy) < 1e-6


@pytest.mark.parametrize("imitation", ["nll", "kl"])
def test_a_budget_that_lasts_changes_nothing(imitation):
    models = [
        learner("PPO", toys(), expert=GaussianExpert(), imitation=imitation, **settings).learn(48)
        for settings in ({}, {"max_expert_queries": 48}, {"max_expert_queries": 10_000})
    ]
    assert models[0].num_expert_queries == 48
    assert largest_difference(models[0].policy, models[1].policy) == 0.0
    assert largest_difference(models[0].policy, models[2].policy) == 0.0


def test_labels_of_a_wrapper_come_out_of_the_same_budget_and_are_never_refused():
    expert = Asked()
    labels = ExpertTeacher(CallableExpert(box_expert))

    def labelled(n_labels):
        return DummyVecEnv([lambda: FeedbackWrapper(ToyEnv(), BudgetTeacher(labels, n_labels))])

    model = learner("A2C", labelled(40), n_steps=16, expert=expert, max_expert_queries=45).learn(16 * 5)
    assert [len(rows) for rows in expert.asked] == [5]  # in the third rollout, beside the wrapper's last 8
    assert model.num_expert_queries == 45
    over = learner("A2C", labelled(10), n_steps=16, expert=Asked(), max_expert_queries=3).learn(32)
    assert over.num_expert_queries == 10
    assert over.expert.asked == []


@pytest.mark.parametrize(
    ("algorithm", "imitation"),
    [(name, imitation) for name in ALGORITHMS for imitation in ("nll", "kl") if (name, imitation) != ("TRPO", "kl")],
)
def test_every_algorithm_keeps_to_its_budget_and_learns_on(algorithm, imitation):
    action, expert = ("discrete", CategoricalExpert()) if algorithm == "MaskablePPO" else ("box", GaussianExpert())

    class Allowing(ToyEnv):
        def action_masks(self):
            return np.ones(3, bool)

    env = DummyVecEnv([lambda: Allowing(action)] * 2)
    model = learner(algorithm, env, expert=expert, imitation=imitation, max_expert_queries=30).learn(100)
    assert model.num_expert_queries == 30
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


def test_a_saved_budget_goes_on_where_it_stopped(tmp_path):
    model = learner("A2C", toys(), n_steps=16, expert=GaussianExpert(), max_expert_queries=40).learn(32)
    model.save(tmp_path / "model")
    expert = Asked()
    loaded = nlf_sb3.A2C.load(tmp_path / "model", toys(), device="cpu", expert=expert)
    assert (loaded.max_expert_queries, loaded.num_expert_queries) == (40, 32)
    loaded.learn(64, reset_num_timesteps=False)
    assert [len(rows) for rows in expert.asked] == [8]
    more = nlf_sb3.A2C.load(tmp_path / "model", device="cpu", max_expert_queries=100)
    assert more.max_expert_queries == 100
    loaded.learn(32)  # a training of its own, which begins anew
    assert loaded.num_expert_queries == 32


def test_the_same_seed_asks_about_the_same_rows():
    asked = []
    for seed in (3, 3, 4):
        expert = Asked()
        learner("A2C", toys(), n_steps=16, expert=expert, max_expert_queries=8, seed=seed).learn(32)
        asked.append(expert.asked[0].tobytes())
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.parametrize("value", [-1, 2.5, True, "all"])
def test_a_learner_s_budget_is_a_number_of_labels(value):
    with pytest.raises(ValueError, match=r"max_expert_queries: got .* expected a whole number of at least 0"):
        learner("PPO", toys(), expert=GaussianExpert(), max_expert_queries=value)


def test_a_budget_of_0_trains_as_if_there_were_no_expert():
    models = [
        learner("PPO", toys(), **settings).learn(48)
        for settings in ({}, {"expert": GaussianExpert(), "max_expert_queries": 0})
    ]
    assert largest_difference(models[0].policy, models[1].policy) == 0.0
