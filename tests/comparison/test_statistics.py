import random
from statistics import NormalDist

import pytest

from motivation.comparison.statistics import Interval, paired_interval, summarise


def test_summary_equals_values_computed_by_hand():
    summary = summarise([1.0, 2.0, 6.0])
    assert (summary.mean, summary.n) == (3.0, 3)
    assert summary.sd == pytest.approx(7**0.5)  # ((-2)^2 + (-1)^2 + 3^2) / 2
    assert summarise([4.0]).sd is None
    assert summarise([]) is None


def test_interval_equals_values_computed_by_hand():
    """Table values of Student's t at 97.5 %: 12.706 with one degree of freedom, 4.303 with two."""
    three = paired_interval([1.0, 2.0, 6.0])
    half = 4.3027 * 7**0.5 / 3**0.5
    assert (three.low, three.high) == (pytest.approx(3 - half, abs=1e-3), pytest.approx(3 + half, abs=1e-3))
    two = paired_interval([1.0, 3.0])
    assert (two.low, two.high) == (pytest.approx(2 - 12.7062, abs=1e-3), pytest.approx(2 + 12.7062, abs=1e-3))
    assert paired_interval([5.0]) == Interval(5.0, None, None, 1)
    assert paired_interval([]) is None


def test_interval_contains_the_true_mean_in_95_of_100_experiments():
    generator = random.Random(0)
    experiments, held = 4000, 0
    for _ in range(experiments):
        interval = paired_interval([generator.gauss(0.7, 2.0) for _ in range(4)])
        held += interval.low <= 0.7 <= interval.high
    z = NormalDist().inv_cdf(0.9999)
    assert abs(held / experiments - 0.95) < z * (0.95 * 0.05 / experiments) ** 0.5


@pytest.mark.parametrize(
    ('interval', 'verdict'),
    [
        (Interval(1.0, 0.1, 1.9, 3), 'supported'),
        (Interval(-1.0, -1.9, -0.1, 3), 'contradicted'),
        (Interval(1.0, -0.1, 2.1, 3), 'not decided'),
        (Interval(5.0, None, None, 1), 'not decided'),
        (Interval(1.0, 1.0, 1.0, 2), 'not decided'),  # two seeds that happen to agree
        (Interval(0.0, 0.0, 0.0, 5), 'not decided'),
    ],
)
def test_verdict(interval, verdict):
    assert interval.verdict() == verdict
