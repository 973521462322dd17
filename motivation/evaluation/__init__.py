"""Metrics of validation and test."""

from motivation.evaluation.accuracy import Accuracy

__all__ = ['Accuracy']
