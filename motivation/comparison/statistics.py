"""Means over seeds, and differences paired by seed with their confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student_t

CONFIDENCE = 0.95

# Least number of pairs for a verdict: with two that happen to agree, the interval would have no width.
FEWEST = 3

Verdict = Literal['supported', 'contradicted', 'not decided']


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of ``n`` values.

    Attributes:
        mean: Arithmetic mean.
        sd: Sample standard deviation (n - 1); ``None`` for a single value.
        n: Number of values.
    """

    mean: float
    sd: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary | None:
    """Return the mean and standard deviation of values, or ``None`` if there are none."""
    if not values:
        return None
    return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences with its confidence interval.

    Attributes:
        mean: Mean difference.
        low: Lower end of the interval; ``None`` for a single pair.
        high: Upper end of the interval; ``None`` for a single pair.
        n: Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def negated(self) -> 'Interval':
        """Return the interval of the differences with the other sign."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Interval(-self.mean, low, high, self.n)

    def verdict(self, than: float = 0.0) -> Verdict:
        """Judge the claim that the mean is above ``than``; fewer than three pairs decide nothing."""
        if self.low is None or self.high is None or self.n < FEWEST:
            return 'not decided'
        if self.low > than:
            return 'supported'
        return 'contradicted' if self.high < than else 'not decided'


def paired_interval(differences: Sequence[float]) -> Interval | None:
    """Compute Student's 95 % confidence interval of the mean of paired differences.

    The interval is mean ± t(0.975, n - 1) s / sqrt(n), where s is the sample standard deviation. It assumes that
    the differences are independent draws from one normal distribution.

    Args:
        differences: One difference for each seed.

    Returns:
        The interval, or ``None`` if there are no differences.
    """
    if not differences:
        return None
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(differences) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)
