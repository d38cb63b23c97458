"""The report of a comparison: REPORT.md, for people who were not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nlf_sb3.experiments.compare.arms import ARMS
from nlf_sb3.experiments.compare.figures import ArmFigures, OverallFigures, Results
from nlf_sb3.experiments.compare.tables import overall_table, return_table, speed_up_table, threshold_table
from nlf_sb3.experiments.compare.thresholds import Threshold

_HOW_TO_READ = """\
Every run is evaluated as it trains, at agent steps that grow by 15% from one evaluation to the next, and at its end: the
policy acts with its mode in {episodes} episodes of environments of its own, the same ones each time and for every arm of a
seed. In brackets are 95% bootstrap intervals over seeds (percentiles of 2,000 resamples; 9,999 for speed-ups).

- **never**: runs of which no evaluation reached the threshold. They count as infinity in medians.
- **agent steps, agent + expert steps, expert labels, gradient steps, seconds**: median over seeds of what a run had spent at
  the first evaluation that reached the threshold. Seconds are those of training, without evaluations, with
  --jobs {jobs} on one machine: compare them within this report alone.
- **times less than {baseline}**: the baseline's median over the arm's, seeds paired; above 1 the arm needs less. A run of the
  baseline that never got there counts as what it spent in all, so that the ratio is a lower bound, and `>=` says that this
  is so for at least half of them.
- **final return**: interquartile mean over seeds of the mean evaluation in the last tenth of the steps.{stopped}
- **area**: mean height of the evaluation curve over agent steps, level after a run's last evaluation; interquartile mean.
- **better than {baseline}**: chance that a run of the arm ends above a run of the baseline, a tie counting half (Mann and
  Whitney's U over the number of pairs). 0.5 is no difference.
- **of {baseline}'s return**: ratio of the interquartile means of final returns, seeds drawn anew for each arm; `-` where one
  of them is not above 0.
"""
FEW_SEEDS = 5
"""Below so many, an interval over seeds says little."""
_IF_STOPPED = " Runs ended as soon as they reached the threshold: final returns and areas are those at that point."


def caution(n_seeds: int) -> str | None:
    """
    >>> caution(2)
    'Intervals over 2 seeds are hardly more than their range: run at least 5 before you conclude anything.'

    :param n_seeds: Seeds of a comparison
    :return: What to think of its intervals; None if they are enough
    """
    if n_seeds >= FEW_SEEDS:
        return None
    over = "one seed are nothing but its figure" if n_seeds == 1 else f"{n_seeds} seeds are hardly more than their range"
    return f"Intervals over {over}: run at least {FEW_SEEDS} before you conclude anything."


def report(
    results: Results,
    thresholds: Mapping[str, Threshold],
    figures: Sequence[ArmFigures],
    overall: Sequence[OverallFigures],
    *,
    episodes: int,
    stopped: bool,
    jobs: int,
    pictures: Mapping[str, str],
) -> str:
    """
    :param results: All runs
    :param thresholds: Return to reach in each environment
    :param figures: Each arm's in each environment
    :param overall: Each arm's in all of them
    :param episodes: Episodes of an evaluation
    :param stopped: Whether runs stopped at the threshold
    :param jobs: Runs at a time, as asked for
    :param pictures: File of each environment's picture
    :return: The report in Markdown
    """
    seeds = max(figure.seeds for figure in figures)
    baseline = results.baseline
    lines = [
        "# Comparison\n",
        f"Arms: {len(results.arms)}. Environments: {len(results.envs)}. Seeds: {seeds}. Agent steps: {results.timesteps:,}.\n",
        *(f"- **{arm}**: {ARMS[arm.partition(' (')[0]].description}" for arm in results.arms),
        *([f"\n{doubt}"] if (doubt := caution(seeds)) else []),
        "\n## How to read the tables\n",
        _HOW_TO_READ.format(episodes=episodes, baseline=baseline, jobs=jobs, stopped=_IF_STOPPED if stopped else "").rstrip(),
    ]
    for env in results.envs:
        own = [figure for figure in figures if figure.env == env]
        lines += [f"\n## {env}\n", f"![Learning curves on {env}]({pictures[env]})\n"]
        lines += _of_environment(own, thresholds[env], baseline)
    if len(results.envs) > 1 and overall:
        lines += [
            "\n## All environments\n",
            "**score**: interquartile mean of final returns over seeds and environments, where 0 is the return at the first "
            f"evaluation of {baseline} and 1 the environment's threshold; seeds are drawn anew within each environment. "
            "Environments whose threshold is no higher than that first return are left out.\n",
            overall_table(overall, baseline).markdown(),
        ]
    return "\n".join(lines) + "\n"


def _of_environment(arms: Sequence[ArmFigures], threshold: Threshold, baseline: str) -> list[str]:
    lines = [
        f"### What it took to reach {threshold.value:,.1f}\n",
        f"The threshold is {threshold.meaning}.\n",
        threshold_table(arms).markdown(),
    ]
    if len(arms) > 1:
        lines += [f"\n### How many times less than {baseline}\n", speed_up_table(arms).markdown()]
    return [*lines, "\n### What was reached\n", return_table(arms, baseline).markdown()]
