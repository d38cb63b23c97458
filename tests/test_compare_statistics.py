"""The figures of a comparison by hand-computed numbers: what runs needed and reached, and intervals over seeds."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nlf_sb3.experiments.compare.figures import Results, figures_of, overall_figures
from nlf_sb3.experiments.compare.plots import band
from nlf_sb3.experiments.compare.statistics import (
    area,
    estimate,
    final_return,
    interquartile_mean,
    median,
    needed,
    probability_of_improvement,
    ratio_of_means,
    spent,
)
from nlf_sb3.experiments.compare.tables import amount, figure, speed_up_table, threshold_table
from nlf_sb3.experiments.compare.thresholds import Threshold, find_threshold


def run_of(steps, returns, *, env="E-v1", label="ppo", seed=1, expert_steps=0, labels=0):
    count = np.arange(1, len(steps) + 1)
    return pd.DataFrame(
        {
            "env": env,
            "label": label,
            "seed": seed,
            "agent_steps": np.asarray(steps),
            "expert_steps": count * expert_steps,
            "expert_labels": count * labels,
            "gradient_steps": count * 10,
            "seconds": count * 0.5,
            "mean_return": np.asarray(returns, dtype=float),
        }
    )


# --- one run ------------------------------------------------------------------------------------------


def test_a_threshold_is_reached_at_the_first_evaluation_that_is_there():
    reached = needed(run_of([100, 200, 300], [1, 7, 3], expert_steps=4, labels=6), threshold=3)
    assert reached == {
        "agent_steps": 200.0,
        "total_steps": 208.0,
        "expert_labels": 12.0,
        "gradient_steps": 20.0,
        "seconds": 1.0,
    }


def test_a_run_that_never_gets_there_needs_infinity_and_has_spent_what_it_has():
    run = run_of([100, 200], [1, 2], expert_steps=5)
    assert set(needed(run, threshold=2.1).values()) == {np.inf}
    assert spent(run)["total_steps"] == 210.0


def test_the_area_is_the_mean_height_of_the_curve():
    run = run_of([100, 300], [10, 30])
    assert area(run, 400) == pytest.approx((100 * 10 + 200 * 20 + 100 * 30) / 400)
    assert area(run, 200) == pytest.approx((100 * 10 + 100 * 15) / 200), "steps beyond the end are cut off"


def test_the_final_return_is_the_mean_of_the_last_tenth():
    assert final_return(run_of([500, 899, 900, 1000], [1, 10, 20, 30]), 1000) == 25.0


def test_a_run_that_ended_early_keeps_its_last_value():
    run = run_of([100, 200], [1, 9])
    assert final_return(run, 1000) == 9.0
    assert area(run, 1000) == pytest.approx((100 * 1 + 100 * 5 + 800 * 9) / 1000)


def test_an_arm_that_takes_no_steps_is_level_at_what_it_ends_with():
    run = run_of([0, 0, 0], [1, 2, 3], labels=50)
    assert (final_return(run, 1000), area(run, 1000)) == (3.0, 3.0)
    x, low, middle, high = band([run, run], "agent_steps", 1000)
    assert (x[0], x[-1]) == (pytest.approx(1), pytest.approx(1000))
    assert {*low, *middle, *high} == {3.0}


# --- seeds and environments ---------------------------------------------------------------------------


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    assert interquartile_mean([np.array([100.0, 0, 1, 2]), np.array([6.0, 5, 4, 3])]) == 3.5


def test_the_probability_of_improvement_is_mann_whitneys_averaged_over_environments():
    arm, baseline = [np.array([1.0, 3.0]), np.array([5.0, 6.0])], [np.array([2.0, 3.0]), np.array([0.0, 1.0])]
    assert probability_of_improvement(arm[:1], baseline[:1]) == (0 + 0 + 1 + 0.5) / 4
    assert probability_of_improvement(arm, baseline) == (0.375 + 1) / 2
    rng = np.random.default_rng(1)
    x, y = rng.integers(5, size=7).astype(float), rng.integers(5, size=9).astype(float)
    assert probability_of_improvement([x], [y]) == pytest.approx(stats.mannwhitneyu(x, y).statistic / 63)


def test_a_ratio_is_there_only_where_both_returns_are_above_0():
    high, low, below = [np.full(3, 6.0)], [np.full(3, 4.0)], [np.full(3, -2.0)]
    assert estimate(ratio_of_means, high, low).value == 1.5
    assert figure(estimate(ratio_of_means, high, low)) == "1.50 [1.50, 1.50]"
    for arm, baseline in ((high, below), (below, high), (below, below)):
        assert figure(estimate(ratio_of_means, arm, baseline)) == "-"


def test_the_interval_of_two_seeds_is_their_own_range():
    # A resample of two seeds is the lower one twice with a chance of a quarter, and so is the higher.
    found = estimate(interquartile_mean, [np.array([0.0, 1.0])])
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_interval_of_many_seeds_is_the_standard_errors():
    values = np.random.default_rng(0).normal(size=400)
    found = estimate(lambda strata: strata[0].mean(axis=-1), [values])
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_seeds_are_resampled_within_their_environment():
    # Were all four drawn from one urn, some resamples would hold more of one environment than of the other.
    found = estimate(interquartile_mean, [np.zeros(2), np.ones(2)])
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_each_arm_is_resampled_on_its_own():
    # The same runs on both sides: drawn together they would tie in every resample.
    values = [np.arange(5.0)]
    found = estimate(probability_of_improvement, values, values)
    assert found.low < 0.5 == found.value < found.high


def test_the_interval_is_the_same_each_time_and_missing_for_one_seed():
    values = [np.array([1.0, 5.0, 2.0, 8.0, 3.0])]
    assert estimate(median, values) == estimate(median, values)
    assert estimate(median, [np.array([4.0])]).low is None


def test_censored_runs_are_infinite_in_medians_and_their_intervals():
    found = estimate(median, [np.array([100.0, 200.0, np.inf])])
    assert (found.value, found.low, found.high) == (200.0, 100.0, np.inf)
    assert amount(found) == "200 [100, never]"
    assert amount(estimate(median, [np.array([100.0, np.inf, np.inf])])) == "never [100, never]"


# --- arms ---------------------------------------------------------------------------------------------


def results_of(*runs, timesteps=1000, baseline="ppo"):
    return Results(pd.concat(runs), timesteps, baseline)


def test_an_arm_is_compared_with_the_baseline_seed_by_seed():
    results = results_of(
        *(run_of([400, 800, 1000], [1, 5, 5], seed=seed) for seed in (1, 2)),
        *(run_of([200, 400, 1000], [5, 5, 10], label="joint (lqr)", labels=8, seed=seed) for seed in (1, 2)),
    )
    baseline, joint = (figures_of(results, "E-v1", arm, 5.0) for arm in ("ppo", "joint (lqr)"))
    assert (baseline.speed_up, baseline.improvement, baseline.ratio, baseline.never) == (None, None, None, 0)
    assert (joint.needed["agent_steps"].value, joint.needed["expert_labels"].value) == (200.0, 8.0)
    assert (joint.speed_up["agent_steps"].ratio, joint.speed_up["gradient_steps"].ratio) == (4.0, 2.0)
    assert (joint.improvement.value, joint.ratio.value, joint.final.value) == (1.0, 2.0, 10.0)


def test_a_baseline_that_never_gets_there_gives_a_lower_bound():
    results = results_of(run_of([400, 1000], [1, 2]), run_of([200, 1000], [5, 5], label="joint (lqr)"))
    joint = figures_of(results, "E-v1", "joint (lqr)", 5.0)
    assert joint.speed_up["agent_steps"].ratio == 5.0
    assert joint.speed_up["agent_steps"].baseline_censored == 1
    row = threshold_table([figures_of(results, "E-v1", "ppo", 5.0)]).rows[0]
    assert row[:3] == ["ppo", "1 of 1", "never"]


def test_labels_are_compared_where_the_baseline_asks_for_any():
    def table(baselines_labels):
        runs = [
            run_of([200, 1000], [5, 5], label=label, labels=labels, seed=seed)
            for label, labels in (("ppo", baselines_labels), ("joint (lqr)", 8))
            for seed in (1, 2)
        ]
        figures = [figures_of(results_of(*runs), "E-v1", arm, 5.0) for arm in ("ppo", "joint (lqr)")]
        own = dict(zip(threshold_table(figures).columns, threshold_table(figures).rows[0], strict=True))
        return own["expert labels"], speed_up_table(figures)

    labels, without = table(0)
    assert (labels, without.columns) == ("-", ["arm", "agent steps", "agent + expert steps", "gradient steps", "seconds"])
    labels, with_labels = table(24)
    assert labels == "24 [24, 24]"
    assert dict(zip(with_labels.columns, with_labels.rows[0], strict=True))["expert labels"] == "3.00 [3.00, 3.00]"


def test_nothing_over_nothing_is_no_ratio():
    results = results_of(
        *(run_of([100, 1000], [5, 5], seed=seed).assign(gradient_steps=[0, 10]) for seed in (1, 2)),
        *(
            run_of([100, 1000], [late, 5], label="a2c", seed=seed).assign(gradient_steps=[0, 10])
            for seed, late in ((1, 5), (2, 1))
        ),
    )
    figures = figures_of(results, "E-v1", "a2c", 5.0)
    assert figures.needed["gradient_steps"].value == 5.0, "one seed is there before its first update"
    row = dict(zip(speed_up_table([figures]).columns, speed_up_table([figures]).rows[0], strict=True))
    assert row["gradient steps"] == "0.00", "seeds without an update on either side leave no interval"
    assert row["agent steps"] == "0.18 [0.10, 1.00]"


def test_scores_of_all_environments_run_from_untrained_to_the_threshold():
    envs = {"E-v1": (0, 100), "F-v1": (-200, -100)}  # return of the untrained baseline, and threshold
    runs = [
        run_of([100, 1000], [low, low + part * (high - low)], env=env, label=label, seed=seed)
        for env, (low, high) in envs.items()
        for label, part in (("ppo", 0.5), ("a2c", 0.75))
        for seed in (1, 2)
    ]
    thresholds = {env: Threshold(high, "") for env, (_, high) in envs.items()}
    ppo, a2c = overall_figures(results_of(*runs), thresholds)
    assert (ppo.arm, ppo.score.value, ppo.improvement) == ("ppo", pytest.approx(0.5), None)
    assert (a2c.score.value, a2c.improvement.value) == (pytest.approx(0.75), 1.0)
    thresholds["F-v1"] = Threshold(-200.0, "no higher than untrained")
    assert overall_figures(results_of(*runs), thresholds)[1].score.value == pytest.approx(0.75)


def test_without_a_threshold_the_baselines_end_is_the_one():
    results = results_of(run_of([1000], [5]), run_of([1000], [9], seed=2), run_of([1000], [50], label="a2c"))
    assert results.baselines_level("E-v1") == Threshold(7.0, "the median final return of ppo")


def test_a_curve_over_labels_steps_at_evaluations_and_is_nothing_without_labels():
    run = run_of([100, 200], [1, 9], labels=10)
    x, low, middle, _ = band([run], "expert_labels", 1000)
    assert (x[0], x[-1]) == (pytest.approx(10), pytest.approx(20))
    assert low.tolist() == middle.tolist()
    assert set(middle[:-1]) == {1.0}
    assert all(not len(part) for part in band([run_of([100], [1])], "expert_labels", 1000))


@pytest.mark.parametrize("text", ["many", "95 %%", "nan", "%", "inf"])
def test_a_threshold_that_is_no_return_is_refused(text):
    with pytest.raises(ValueError, match=r"--threshold: got .*, expected a return such as 475"):
        find_threshold(text, "CartPole-v1", "random", 1)


def test_a_threshold_is_a_number_or_a_part_of_the_experts_return():
    assert find_threshold(None, "CartPole-v1", None, 1) is None
    assert find_threshold("-150", "CartPole-v1", None, 1) == Threshold(-150.0, "as asked for")
    half, whole = (find_threshold(text, "CartPole-v1", "random", 3) for text in ("50%", "100%"))
    assert half.value == whole.value / 2 >= 4, "no episode of CartPole ends before its eighth step"
    with pytest.raises(ValueError, match="there is no --expert"):
        find_threshold("95%", "CartPole-v1", None, 1)
