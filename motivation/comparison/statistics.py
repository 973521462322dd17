"""Means over seeds, and differences paired by seed with their confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from scipy.stats import t as student_t

CONFIDENCE = 0.95

# Pairs below which nothing is decided: two that happen to agree would make an interval of no width.
FEWEST = 3

Verdict = Literal['supported', 'contradicted', 'not decided']


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of ``n`` values; the deviation of one value is ``None``."""

    mean: float
    sd: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean and standard deviation (n - 1) of values; ``None`` of none."""
    if not values:
        return None
    return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences and the confidence interval of the mean, ``None`` of a single pair.

    Attributes:
        mean: Mean difference.
        low: Lower end of the interval.
        high: Upper end.
        n: Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def verdict(self, than: float = 0.0) -> Verdict:
        """What the interval says of the claim that the mean is above ``than``; nothing below three pairs."""
        if self.low is None or self.high is None or self.n < FEWEST:
            return 'not decided'
        if self.low > than:
            return 'supported'
        return 'contradicted' if self.high < than else 'not decided'

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def paired_interval(differences: Sequence[float]) -> Interval | None:
    """Student's interval of the mean of paired differences, at 95 %.

    The mean plus and minus t(0.975, n - 1) s / sqrt(n), s being the sample standard deviation. It
    takes the differences for independent draws of one normal distribution.

    Args:
        differences: One for each seed.

    Returns:
        ``None`` if there are none.
    """
    if not differences:
        return None
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(differences) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)
