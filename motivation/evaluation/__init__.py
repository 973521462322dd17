"""What is measured on the validation and test images."""

from motivation.evaluation.accuracy import Accuracy

__all__ = ['Accuracy']
