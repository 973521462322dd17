"""Metrics of validation and test."""

from motivation.evaluation.accuracy import Accuracy
from motivation.evaluation.cross_entropy import CrossEntropy

__all__ = ['Accuracy', 'CrossEntropy']
