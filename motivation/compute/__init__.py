"""Counting what training computes."""

from motivation.compute.formulas import register_formula

__all__ = ['register_formula']
