"""Feedback on its way from step infos into the rollout buffer, and checks that it is about the learner's own steps."""
