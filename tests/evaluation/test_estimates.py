import math

import numpy as np
import pytest

from motivation.evaluation.estimates import paired_difference, share_of


def test_share_has_wilsons_interval():
    share, n, z = 0.9, 200, 1.959963985
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    found = share_of(np.arange(n) < 180)
    expected = [share, *((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))]
    assert [found.value, found.low, found.high] == pytest.approx(expected)


def test_paired_bootstrap_equals_one_that_draws_images():
    generator = np.random.default_rng(1)
    differences = generator.choice([-1.0, 0.0, 0.3, 1.0], 400, p=[0.05, 0.8, 0.05, 0.1])
    means = [generator.choice(differences, 400).mean() for _ in range(4000)]
    found = paired_difference(differences)
    assert found.value == pytest.approx(differences.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.003)


def test_equal_answers_differ_by_nothing():
    found = paired_difference(np.zeros(50))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_scaling_keeps_the_interval_around_the_value():
    found = share_of(np.array([True, False])).scaled(100, 5)
    assert found.value == 55 and found.low < 55 < found.high
