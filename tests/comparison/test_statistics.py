import random
from statistics import NormalDist

import pytest

from motivation.comparison.statistics import ERROR_RATE, FIXED, Interval, adjust, summarise


def test_summary_equals_values_computed_by_hand():
    summary = summarise([1.0, 2.0, 6.0])
    assert (summary.mean, summary.n) == (3.0, 3)
    assert summary.sd == pytest.approx(7**0.5)  # ((-2)^2 + (-1)^2 + 3^2) / 2
    assert summarise([4.0]).sd is None
    assert summarise([]) is None


def test_interval_equals_values_computed_by_hand():
    """Table values of Student's t at 97.5 %: 12.706 with one degree of freedom, 4.303 with two."""
    three = FIXED.interval([1.0, 2.0, 6.0])
    half = 4.3027 * 7**0.5 / 3**0.5
    assert (three.low, three.high) == (pytest.approx(3 - half, abs=1e-3), pytest.approx(3 + half, abs=1e-3))
    two = FIXED.interval([1.0, 3.0])
    assert (two.low, two.high) == (pytest.approx(2 - 12.7062, abs=1e-3), pytest.approx(2 + 12.7062, abs=1e-3))
    assert FIXED.interval([5.0]) == Interval(5.0, None, None, 1)
    assert FIXED.interval([]) is None


def test_interval_contains_the_true_mean_in_95_of_100_experiments():
    generator = random.Random(0)
    experiments, held = 4000, 0
    for _ in range(experiments):
        interval = FIXED.interval([generator.gauss(0.7, 2.0) for _ in range(4)])
        held += interval.low <= 0.7 <= interval.high
    z = NormalDist().inv_cdf(0.9999)
    assert abs(held / experiments - 0.95) < z * (0.95 * 0.05 / experiments) ** 0.5


def test_p_value_equals_a_table_value_and_counts_for_its_side():
    """Student's t with two degrees of freedom: 4.303 is exceeded, on either side, with a probability of 5 %."""
    half = 4.3027 * 7**0.5 / 3**0.5
    above, below = FIXED.p_values([1.0 + half - 3, 2.0 + half - 3, 6.0 + half - 3])
    assert (above, below) == (pytest.approx(0.05, abs=1e-5), 1)
    assert FIXED.p_values([3 - 1.0 - half, 3 - 2.0 - half, 3 - 6.0 - half]) == (1, pytest.approx(above))


def test_fewer_than_three_differences_have_no_p_value():
    assert FIXED.p_values([1.0, 1.0]) is None


def test_differences_without_spread_are_certain():
    """Such as those of FLOPs, which do not depend on the seed."""
    assert FIXED.p_values([2.0] * 3) == (0, 1)
    assert FIXED.p_values([-2.0] * 3) == (1, 0)
    assert min(FIXED.p_values([0.0] * 5)) == 1


def test_adjusted_p_values_equal_those_computed_by_hand():
    """0.01 of four is 0.04; 0.02 of three 0.06; 0.025 of two 0.05, which is not below the one before; 0.5 of one."""
    assert adjust([0.5, 0.01, 0.025, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert adjust([0.3]) == [0.3]
    assert adjust([0.6, 0.7]) == [1, 1]
    assert adjust([]) == []


def test_of_ten_claims_without_a_difference_any_is_decided_in_5_of_100_experiments():
    generator = random.Random(1)
    experiments, wrong = 1000, 0
    for _ in range(experiments):
        p_values = [min(FIXED.p_values([generator.gauss(0, 1) for _ in range(4)])) for _ in range(10)]
        wrong += min(adjust(p_values)) <= ERROR_RATE
    z = NormalDist().inv_cdf(0.9999)
    assert abs(wrong / experiments - (1 - (1 - 0.05 / 10) ** 10)) < z * (0.05 * 0.95 / experiments) ** 0.5
