import math

import pytest

from motivation.evaluation import CrossEntropy
from tests.evaluation.test_accuracy import samples


def test_cross_entropy_is_the_mean_negative_log_probability_of_the_class():
    metric = CrossEntropy()
    metric.process(None, samples([[0.0, math.log(3.0)]], [1]))
    metric.process(None, samples([[0.0, 0.0], [math.log(7.0), 0.0]], [0, 1]))
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 8)) / 3
    assert metric.evaluate(3) == {'loss/cross_entropy': pytest.approx(expected, rel=1e-6)}
