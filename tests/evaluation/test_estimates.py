import math

import numpy as np
import pytest
from scipy.stats import binomtest

from motivation.evaluation.estimates import paired_difference, share_of


@pytest.mark.parametrize('count', [0, 1, 180, 200])
def test_share_has_the_wilson_interval_of_scipy(count):
    found = share_of(np.arange(200) < count)
    expected = binomtest(count, 200).proportion_ci(method='wilson')
    assert found.value == count / 200
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_difference_has_the_interval_of_four_cells_with_half_an_image_more():
    only_first, only_second, both, neither = 30, 12, 300, 58
    cells = {name: count + 0.5 for name, count in zip('bcad', (only_first, only_second, both, neither), strict=True)}
    n = sum(cells.values())
    p_first, p_second = (cells['a'] + cells['b']) / n, (cells['a'] + cells['c']) / n
    covariance = cells['a'] / n - p_first * p_second
    sd = math.sqrt((p_first * (1 - p_first) + p_second * (1 - p_second) - 2 * covariance) / n)
    found = paired_difference(np.repeat([1.0, -1.0, 0.0], [only_first, only_second, both + neither]))
    assert found.value == pytest.approx((only_first - only_second) / 400)
    expected = [p_first - p_second + sign * 1.959963985 * sd for sign in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(expected)


def test_interval_of_any_differences_is_near_that_of_a_bootstrap():
    generator = np.random.default_rng(1)
    differences = generator.choice([-0.7, 0.0, 0.3, 1.0], 2000, p=[0.05, 0.8, 0.05, 0.1])
    means = [generator.choice(differences, 2000).mean() for _ in range(2000)]
    found = paired_difference(differences)
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.002)


def test_models_that_never_differ_are_not_known_to_be_equal():
    found = paired_difference(np.zeros(50))
    assert found.value == 0 and found.high == -found.low > 0.03
    always = paired_difference(np.ones(20))
    assert always.value == always.high == 1 and always.low < 0.9


def test_scaling_keeps_the_interval_around_the_value():
    found = share_of(np.array([True, False])).scaled(100, 5)
    assert found.value == 55 and found.low < 55 < found.high
