"""Warn about feedback in the first rollout that no loss uses."""

from __future__ import annotations

from nlf_sb3.receiving.statistics import FeedbackStatistics

_OF_ACTIONS = (
    "Pass an interpreter with the names that the remarks use: interpreter=RuleInterpreter(ActionNames(env.action_space, "
    '[Dimension("push", low="left", high="right")])), one Dimension for each dimension of the action, all of them from '
    "nlf_sb3.text. Or pass auxiliary_losses=[nlf_sb3.text.TextPrediction()]."
)
_OF_TOKENS = (
    "Words about a response train a language model by a score (Feedback(score=...) with score_as_reward) or by the response "
    'that was expected (info["expected_response"]).'
)


def lost_feedback(
    statistics: FeedbackStatistics,
    *,
    is_promised: bool,
    why_none: str,
    has_interpreter: bool,
    has_other_use: bool,
    acts_by_tokens: bool = False,
) -> str | None:
    """
    :param statistics: Of the rollout
    :param is_promised: Whether an environment has a FeedbackWrapper
    :param why_none: Why no feedback came, where none did
    :param has_interpreter: Whether there is an interpreter
    :param has_other_use: Whether there are labels beside the words, or auxiliary losses
    :param acts_by_tokens: Whether the policy is a language model, of whose actions no interpreter knows names
    :return: The loss and how to mend it, as a sentence about "the first steps"; None if nothing is lost
    """
    if is_promised and not statistics.total_records and not statistics.skipped:
        return (
            f"carried no feedback, though the environment has a FeedbackWrapper: {why_none} This rollout trains as plain "
            "Stable-Baselines3 does."
        )
    if has_other_use or not statistics.total_texts:
        return None
    if has_interpreter and not statistics.total_texts_used:
        return (
            "carried text, and the interpreter made a label of none of it. A rollout without labels trains on the reward, as "
            "plain Stable-Baselines3 does. Does the interpreter know the names that the remarks use, its ActionNames?"
        )
    if is_promised and not has_interpreter:
        return f"carried text, and nothing reads it. {_OF_TOKENS if acts_by_tokens else _OF_ACTIONS}"
    return None
