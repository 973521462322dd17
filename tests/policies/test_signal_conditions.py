import pytest

from motivation.errors import ConfigError
from motivation.policies import GradientNorm, ValidationGain
from tests.policies.simulation import decide


def flags(*values):
    return [bool(value) for value in values]


def test_gradient_norm_is_compared_with_a_threshold():
    norms = [3, 1, 2, float('inf')]
    assert decide(GradientNorm(below=2.0), [0] * 4, grad_norm=norms) == flags(0, 1, 0, 0)
    assert decide(GradientNorm(above=2.0), [0] * 4, grad_norm=norms) == flags(1, 0, 0, 0)


def test_gradient_norm_is_compared_with_the_average_of_previous_norms():
    """Averages before each batch: none, 4, (4 + 2) / 2 = 3, (3 + 5) / 2 = 4; half of them: 2, 1.5, 2."""
    policy = GradientNorm(below=0.5, relative=0.5)
    assert decide(policy, [0] * 4, grad_norm=[4, 2, 5, 1.9]) == flags(0, 0, 0, 1)


def test_validation_gain_holds_from_one_validation_to_the_next():
    results = [None, 50.0, None, 52.0, None, 52.5, None, 60.0]
    metrics = [None if value is None else {'base/accuracy/top1': value} for value in results]
    assert decide(ValidationGain(min_gain=1.0), [0] * 8, metrics=metrics) == flags(0, 0, 0, 1, 1, 0, 0, 1)


def test_validation_gain_reports_the_metrics_there_are():
    metrics = [{'base/accuracy/top1': 1.0}]
    with pytest.raises(ConfigError, match=r"metric is 'base/accuracy/top2'.*did you mean 'base/accuracy/top1'"):
        decide(ValidationGain('base/accuracy/top2'), [0], metrics=metrics)


def test_invalid_options_are_refused():
    with pytest.raises(ConfigError, match='give exactly one'):
        GradientNorm()
    with pytest.raises(ConfigError, match=r'^above must be at least 0 or None, got -1$'):
        GradientNorm(above=-1)
    with pytest.raises(ConfigError, match=r'^relative must be below 1 or None, got 1$'):
        GradientNorm(above=1, relative=1)
    with pytest.raises(ConfigError, match=r'^metric must be a string, got 3$'):
        ValidationGain(3)
