"""Shares and differences measured on N images, with 95 % intervals."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

LEVEL = 0.95

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A value measured on a sample of images, with its 95 % interval.

    Attributes:
        value: The value on the images.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def scaled(self, factor: float, offset: float = 0.0) -> 'Estimate':
        """Return ``offset + factor`` times the value and both ends; ``factor`` is at least 0."""
        return Estimate(*(offset + factor * value for value in (self.value, self.low, self.high)))


def share_of(hits: np.ndarray) -> Estimate:
    """Return the share of images for which something holds, with Wilson's interval (1927, JASA 22, 209-212).

    Args:
        hits: (N,), bool.
    """
    count = int(hits.sum())
    interval = binomtest(count, len(hits)).proportion_ci(LEVEL, method='wilson')
    return Estimate(count / len(hits), float(interval.low), float(interval.high))


def paired_difference(differences: np.ndarray, seed: int = 0) -> Estimate:
    """Return the mean of differences on the same images, with the percentile interval of a paired bootstrap.

    Images are drawn with replacement, each with what all models make of it (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapter 13). Few values occur, so a resample is one multinomial draw of how often each does.

    Args:
        differences: (N,), one for each image.
        seed: Seed of the 10,000 resamples. Default: 0.
    """
    values, counts = np.unique(differences, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(differences), counts / len(differences), RESAMPLES)
    low, high = np.quantile(draws @ values / len(differences), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(np.mean(differences)), float(low), float(high))
