"""Means over seeds, differences paired by seed, and the test of a fixed number of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple, Protocol

from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes a hundred times as long

CONFIDENCE = 0.95

# Probability of any wrong verdict among the claims of one comparison.
ERROR_RATE = 0.05

# Least number of pairs for a verdict: with two that happen to agree, the interval would have no width.
FEWEST = 3


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
        low: Lower end of the interval; ``None`` if there are too few pairs for one.
        high: Upper end of the interval; ``None`` if there are too few pairs for one.
        n: Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


class PValues(NamedTuple):
    """The evidence that a mean is not zero, by its side; the smaller one is the two-sided p-value.

    Attributes:
        above: Two-sided p-value where the differences lie above zero, else 1.
        below: Two-sided p-value where they lie below zero, else 1.
    """

    above: float
    below: float


class PairedTest(Protocol):
    """A test of differences paired by seed, with the interval that belongs to it."""

    @property
    def interval_name(self) -> str:
        """What its interval is called in tables: ``'95 % interval'``."""

    def interval(self, differences: Sequence[float]) -> Interval | None:
        """Compute the interval of the mean; ``None`` if there are no differences.

        Args:
            differences: One difference for each seed, in the order in which the seeds were run.
        """

    def p_values(self, differences: Sequence[float]) -> PValues | None:
        """Test whether the mean is zero; ``None`` with fewer than three differences.

        Args:
            differences: One difference for each seed, in the order in which the seeds were run.
        """

    def describe(self) -> dict[str, Any]:
        """Return what the results say of the test, as plain data."""


class FixedTest:
    """Student's paired t-test of a number of seeds that was fixed before the runs.

    It assumes that the differences are independent draws from one normal distribution.
    """

    interval_name = '95 % interval'

    def interval(self, differences: Sequence[float]) -> Interval | None:
        """Compute Student's 95 % confidence interval of the mean of paired differences.

        The interval is mean ± t(0.975, n - 1) s / sqrt(n), where s is the sample standard deviation.

        Args:
            differences: One difference for each seed.

        Returns:
            The interval, without ends for a single difference, or ``None`` if there are none.
        """
        if not differences:
            return None
        mean, n = fmean(differences), len(differences)
        if n == 1:
            return Interval(mean, None, None, 1)
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * stdev(differences) / math.sqrt(n)
        return Interval(mean, mean - half, mean + half, n)

    def p_values(self, differences: Sequence[float]) -> PValues | None:
        """Compute the p-value of the paired t-test, t = sqrt(n) mean / s; ``None`` with fewer than three differences.

        Differences that are all the same, as of FLOPs that do not depend on the seed, have a p-value of 0, or of 1 if
        they are zero.
        """
        n = len(differences)
        if n < FEWEST:
            return None
        mean, sd = fmean(differences), stdev(differences)
        p = float(mean == 0) if sd == 0 else 2 * float(stdtr(n - 1, -math.sqrt(n) * abs(mean) / sd))
        return PValues(p, 1.0) if mean > 0 else PValues(1.0, p)

    def describe(self) -> dict[str, Any]:
        """Return kind, method, error rate and correction."""
        return {'kind': 'fixed', 'method': 'paired t-test', 'error_rate': ERROR_RATE, 'correction': 'holm'}


FIXED = FixedTest()


def adjust(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down procedure.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than the one before it. If the claims whose
    adjusted p-value is at most 0.05 are decided, any of them is decided wrongly with a probability of at most 0.05,
    however they depend on each other (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
    Journal of Statistics 6, 1979).

    Returns:
        The adjusted p-values, at most 1, in the order of the given ones.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = largest
    return adjusted
