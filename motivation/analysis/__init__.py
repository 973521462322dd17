"""Counting compute, and the results of runs."""

from motivation.analysis.formulas import register_formula

__all__ = ['register_formula']
