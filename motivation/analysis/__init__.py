"""Counting compute, and the results of runs."""
