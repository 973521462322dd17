"""The test of a growing number of seeds: valid whenever one looks, and whenever one stops."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from motivation.comparison.statistics import CONFIDENCE, ERROR_RATE, FEWEST, Interval, PValues


@dataclass(frozen=True)
class SequentialTest:
    """The anytime-valid t-test, with its confidence sequence.

    After n differences with mean m and sum S of squared deviations from it, the evidence against a mean of zero is

        E_n = r^(-1/2) ((1 + u) / (1 + u / r))^(n / 2),  u = n m^2 / S,  r = 1 + n tau2,

    the likelihood ratio of the t-statistic (u = t^2 / (n - 1)) between effect sizes, mean over standard deviation, drawn
    from a normal distribution of variance ``tau2``, and an effect size of zero. With the right Haar prior of the standard
    deviation it is a martingale that begins at 1 if the mean is zero, so the probability that it ever reaches 20 is at
    most 1/20, whatever the standard deviation (Ville's inequality). 1 / E_n at its smallest so far is therefore a p-value
    at any time, and the means that the test does not reject are a confidence sequence, which contains the true mean at
    all times with a probability of 95 %.

    Sources: Lai, "On Confidence Sequences", Annals of Statistics 4, 1976; Wang and Ramdas, "Anytime-valid t-tests and
    confidence sequences for Gaussian means with unknown variance", arXiv 2310.03722; Grünwald, de Heide and Koolen,
    "Safe Testing", arXiv 1906.07801.

    Like the t-test, it assumes that the differences are independent draws from one normal distribution.

    Args:
        tau2: Variance of the effect sizes that the test expects. The error rate does not depend on it, the number of
            seeds needed does. Default: 2, the square of an effect of one point where differences between seeds have a
            standard deviation of 0.7 points; needs the fewest seeds from half to twice that effect
            (``tools/benchmark_claims.py``).
    """

    tau2: float = 2.0

    interval_name = '95 % confidence sequence'

    def interval(self, differences: Sequence[float]) -> Interval | None:
        """Compute the 95 % confidence sequence of the mean at the number of differences.

        E_n of the differences less a supposed mean is at most 20 where that is within sqrt(u S / n) of m, with
        u = (c - 1) / (1 - c / r) and c = (400 r)^(1 / n).

        Args:
            differences: One difference for each seed.

        Returns:
            The interval, without ends if there are too few differences to reject any mean, or ``None`` if there are none.
        """
        if not differences:
            return None
        *_, (n, mean, squares) = _moments(differences)
        ratio = 1 + n * self.tau2
        limit = (ratio / (1 - CONFIDENCE) ** 2) ** (1 / n)
        if limit >= ratio:
            return Interval(mean, None, None, n)
        half = math.sqrt((limit - 1) / (1 - limit / ratio) * squares / n)
        return Interval(mean, mean - half, mean + half, n)

    def fewest_seeds(self, claims: int) -> int:
        """Return how many seeds can decide all of a number of claims, even if no difference varies between seeds."""
        n = FEWEST
        while (1 + n * self.tau2) ** ((n - 1) / 2) < claims / ERROR_RATE:
            n += 1
        return n

    def p_values(self, differences: Sequence[float]) -> PValues | None:
        """Compute the smallest 1 / E_n so far of either side, from the third difference on; ``None`` before.

        Args:
            differences: One difference for each seed, in the order in which the seeds were run.
        """
        if len(differences) < FEWEST:
            return None
        above = below = 1.0
        for n, mean, squares in _moments(differences):
            if n < FEWEST:
                continue
            p = min(math.exp(-self._log_evidence(n, mean, squares)), 1.0)
            above, below = (min(above, p), below) if mean > 0 else (above, min(below, p))
        return PValues(above, below)

    def _log_evidence(self, n: int, mean: float, squares: float) -> float:
        """Compute the logarithm of E_n from the number, mean and sum of squared deviations of the differences."""
        ratio = 1 + n * self.tau2
        if squares == 0:  # the limit: u is infinite, or zero if the mean is
            return math.log(ratio) * ((n - 1) / 2 if mean else -0.5)
        u = n * mean**2 / squares
        return (n * (math.log1p(u) - math.log1p(u / ratio)) - math.log(ratio)) / 2

    def describe(self) -> dict[str, Any]:
        """Return kind, method, error rate, correction and ``tau2``."""
        return {
            'kind': 'sequential',
            'method': 'anytime-valid t-test',
            'error_rate': ERROR_RATE,
            'correction': 'holm',
            'tau2': self.tau2,
        }


def _moments(values: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Yield number, mean and sum of squared deviations of the first one, two, ... values, by Welford's recursion."""
    mean = squares = 0.0
    for n, value in enumerate(values, 1):
        before = value - mean
        mean += before / n
        squares += before * (value - mean)
        yield n, mean, squares
