"""Trains many small models and compares every number with those of another commit, bit for bit."""
