import math

import pytest
import torch

from motivation.errors import ConfigError
from motivation.evaluation.confidence import confidence

PROBABILITIES = [[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]]


@pytest.mark.parametrize(
    ('measure', 'expected'),
    [
        ('probability', [max(p) for p in PROBABILITIES]),
        ('margin', [0.5, 0.0, 0.0]),
        ('entropy', [1 + sum(x * math.log(x, 3) for x in p) for p in PROBABILITIES]),
    ],
)
def test_each_measure_follows_its_definition(measure, expected):
    logits = torch.tensor(PROBABILITIES).log() + torch.tensor([[5.0], [-2.0], [0.0]])  # softmax ignores the offset
    assert confidence(logits, measure).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('measure', ['probability', 'margin', 'entropy'])
def test_confidence_of_extreme_logits_is_one_and_not_nan(measure):
    assert confidence(torch.tensor([[1000.0, -1000.0]]), measure).tolist() == [1.0]


def test_one_class_is_refused():
    with pytest.raises(ConfigError, match='needs at least 2 classes'):
        confidence(torch.zeros(3, 1))
