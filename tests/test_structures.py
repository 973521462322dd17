"""What the values of a metric mean is known from its name."""

import pytest

from motivation.report.metric_units import form_of, named, unit_of
from motivation.structures import kind_of, lower_is_better


@pytest.mark.parametrize(
    ('metric', 'text', 'unit', 'form', 'lower'),
    [
        ('accuracy/top1', 'accuracy/top1 in percent', 'points', '.2f', False),
        ('base/ema/f1/class/loss/x', 'base/ema/f1/class/loss/x in percent', 'points', '.2f', False),
        ('calibration_error/l1', 'calibration_error/l1 in percent, lower is better', 'points', '.2f', True),
        ('ema/hamming/macro', 'ema/hamming/macro in percent, lower is better', 'points', '.2f', True),
        ('motivated/loss/x', 'motivated/loss/x in nats, lower is better', 'nats', '.3f', True),
        ('own/loss/x', 'own/loss/x in nats, lower is better', 'nats', '.3f', True),
        ('matthews/value', 'matthews/value', '', '.3f', False),
        ('ranking_loss/value', 'ranking_loss/value, lower is better', '', '.3f', True),
        ('own/x', 'own/x', '', '.2f', False),
        ('loss', 'loss', '', '.2f', False),
    ],
)
def test_unit_and_direction_of_a_metric(metric, text, unit, form, lower):
    assert (named(metric), unit_of(metric), form_of(metric), lower_is_better(metric)) == (text, unit, form, lower)
    assert (kind_of(metric) is None) == (metric in ('own/x', 'loss'))
