"""Metrics of validation and test."""

from motivation.evaluation.accuracy import Accuracy
from motivation.evaluation.cross_entropy import CrossEntropy
from motivation.evaluation.torch_metric import TorchMetric

__all__ = ['Accuracy', 'CrossEntropy', 'TorchMetric']
