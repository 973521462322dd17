"""The anytime-valid t-test, against integrals and simulations that do not use its formulas."""

import math
import random
from statistics import NormalDist, fmean, stdev

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm
from scipy.stats import t as student_t

from motivation.comparison.sequential import SequentialTest
from motivation.comparison.statistics import FIXED, adjust

TEST = SequentialTest()


def evidence(differences, test=TEST):
    """E_n of the last difference alone: the limit on it is where the confidence sequence ends."""
    n, mean, sd = len(differences), fmean(differences), stdev(differences)
    return math.exp(test._log_evidence(n, mean, (n - 1) * sd**2))


def with_t(n, t):
    """Differences whose t-statistic is ``t``."""
    spread = np.arange(n) - (n - 1) / 2
    spread /= spread.std(ddof=1)
    return list(spread + t / n**0.5)


@pytest.mark.parametrize(('n', 't'), [(3, 0.4), (5, 2.8), (12, -4.0)])
def test_evidence_is_the_likelihood_ratio_of_the_t_statistic(n, t):
    """The t-statistic of effect size d follows a non-central t distribution; d is drawn from N(0, tau2)."""

    def weighted(d):
        return nct.pdf(t, n - 1, n**0.5 * d) * norm.pdf(d, scale=TEST.tau2**0.5)

    expected = quad(weighted, -12, 12, points=[t / n**0.5])[0] / student_t.pdf(t, n - 1)
    assert evidence(with_t(n, t)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('n', [3, 7, 20])
def test_evidence_has_an_expectation_of_1_without_a_difference(n):
    def weighted(t):
        return evidence(with_t(n, t)) * student_t.pdf(t, n - 1)

    assert 2 * (quad(weighted, 0, 20)[0] + quad(weighted, 20, math.inf)[0]) == pytest.approx(1, abs=1e-4)


def test_confidence_sequence_ends_where_the_evidence_is_20():
    differences = [0.9, 2.1, 1.4, 1.7, 0.8, 1.2]
    interval = TEST.interval(differences)
    for end in (interval.low, interval.high):
        assert evidence([value - end for value in differences]) == pytest.approx(20)
    assert (interval.n, interval.mean) == (6, pytest.approx(8.1 / 6))
    student = FIXED.interval(differences)
    assert interval.low < student.low < student.high < interval.high  # the price of looking at any time


def test_too_few_differences_to_reject_any_mean_have_no_interval():
    """Evidence is below r^((n - 1) / 2): at most 7 from three differences."""
    assert TEST.interval([1.0, 1.1, 1.2]).low is None
    assert TEST.interval([1.0]).high is None
    assert TEST.interval([]) is None
    assert SequentialTest(tau2=10).interval([1.0, 1.1, 1.2]).low is not None


def test_p_value_is_the_smallest_of_all_looks_on_its_side():
    differences = [1.0, 1.3, 0.9, 1.1, 1.2, -9.0, -9.0, -9.0]
    looks = {n: 1 / evidence(differences[:n]) for n in range(3, 9)}
    above, below = TEST.p_values(differences)
    assert above == pytest.approx(looks[5]) and above == TEST.p_values(differences[:5]).above
    assert below == pytest.approx(min(1, looks[8]))
    assert TEST.p_values(differences[:2]) is None


def test_differences_without_spread_are_as_certain_as_their_number_allows():
    assert TEST.p_values([2.0] * 5) == (pytest.approx(11**-2.0), 1)
    assert TEST.p_values([2.0] * 4 + [2.0 + 1e-9]).above == pytest.approx(11**-2.0, rel=1e-3)
    assert TEST.p_values([0.0] * 5) == (1, 1)


def test_true_mean_is_in_every_interval_of_a_sequence_in_95_of_100_experiments():
    generator = random.Random(0)
    experiments, lost = 1000, 0
    for _ in range(experiments):
        differences = [generator.gauss(0.7, 2.0) for _ in range(30)]
        ends = [TEST.interval(differences[:n]) for n in range(1, 31)]
        lost += not all(one.low is None or one.low <= 0.7 <= one.high for one in ends)
    z = NormalDist().inv_cdf(0.9999)
    assert 0.005 < lost / experiments < 0.05 + z * (0.05 * 0.95 / experiments) ** 0.5


@pytest.mark.parametrize(('claims', 'fewest'), [(1, 4), (2, 5), (6, 5), (7, 6)])
def test_fewest_seeds_decide_differences_that_do_not_vary_and_one_seed_less_does_not(claims, fewest):
    assert TEST.fewest_seeds(claims) == fewest
    for seeds, decided in ((fewest, True), (fewest - 1, False)):
        p = TEST.p_values([1.0] * seeds).above
        assert (max(adjust([p] * claims)) <= 0.05) is decided
