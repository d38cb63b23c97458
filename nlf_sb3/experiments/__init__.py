"""Runs, statistics, plots and the command line: what shows that the rest works."""
