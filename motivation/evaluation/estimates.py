"""Shares and differences measured on N images, with 95 % intervals."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

LEVEL = 0.95

_Z = float(norm.ppf((1 + LEVEL) / 2))


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
    images, share = len(hits), float(hits.mean())
    centre, shrink = share + _Z**2 / (2 * images), 1 + _Z**2 / images
    half = _Z * math.sqrt(share * (1 - share) / images + (_Z / (2 * images)) ** 2)
    # Rounding must not push an end past a share of 0 or 1.
    return Estimate(
        share, min(share, max(0.0, (centre - half) / shrink)), max(share, min(1.0, (centre + half) / shrink))
    )


def paired_difference(differences: np.ndarray) -> Estimate:
    """Return the mean of differences between two models on the same images, with the interval of Agresti and Min.

    That is Wald's after half an image is added for each outcome (both right, one, the other, neither), so that it keeps
    a width where the models never differ (2005, Statistics in Medicine 24, 729-740).

    Args:
        differences: (N,), from -1 to 1: right answers minus right answers, 0 or 1, or their expected numbers.
    """
    images, total = len(differences) + 2, float(differences.sum())
    variance = (float((differences**2).sum()) + 1) / images - (total / images) ** 2
    half = _Z * math.sqrt(variance / images)
    return Estimate(total / len(differences), max(-1.0, total / images - half), min(1.0, total / images + half))
