"""What a training's first rollout was promised or given, and nothing learns from."""

from __future__ import annotations

from nlf_sb3.receiving.statistics import FeedbackStatistics


def lost_feedback(
    statistics: FeedbackStatistics, *, is_promised: bool, has_interpreter: bool, has_other_use: bool
) -> str | None:
    """
    :param statistics: Of the rollout
    :param is_promised: Whether an environment has a FeedbackWrapper
    :param has_interpreter: Whether somebody reads words
    :param has_other_use: Whether there are labels beside the words, or auxiliary losses
    :return: What is lost and how to mend it, about "the first steps"; None if nothing is
    """
    if is_promised and not statistics.total_records and not statistics.skipped:
        return (
            "carried no feedback, though the environment has a FeedbackWrapper: its teachers returned None. This rollout "
            "trains as plain Stable-Baselines3 does."
        )
    if has_other_use or not statistics.total_texts:
        return None
    if has_interpreter and not statistics.total_texts_used:
        return (
            "carried text, and the interpreter made a label of none of it. A rollout without labels trains on the reward, as "
            "plain Stable-Baselines3 does. Does the interpreter know the names that the remarks use, its ActionNames?"
        )
    if is_promised and not has_interpreter:
        return (
            "carried text, and nothing reads it. Pass interpreter=nlf_sb3.text.RuleInterpreter(env.action_space), or "
            "auxiliary_losses=[nlf_sb3.text.TextPrediction()]."
        )
    return None
