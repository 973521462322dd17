"""Counting the compute of training."""

from motivation.compute.formulas import register_formula

__all__ = ['register_formula']
