import pytest
import torch

from motivation.errors import ArgumentError
from motivation.evaluation import Accuracy


def samples(logits, targets):
    return [{'logits': torch.tensor(row), 'target': torch.tensor(t)} for row, t in zip(logits, targets, strict=True)]


def test_accuracy_is_the_percentage_among_the_k_highest():
    metric = Accuracy(topk=(1, 2))
    metric.process(None, samples([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]], [1, 2]))
    metric.process(None, samples([[0.9, 0.0, 0.1]], [1]))
    assert metric.evaluate(3) == {'accuracy/top1': 100 / 3, 'accuracy/top2': 200 / 3}


def test_k_above_the_number_of_classes_gives_100():
    metric = Accuracy(topk=(1, 5))
    metric.process(None, samples([[0.1, 0.7]], [0]))
    assert metric.evaluate(1) == {'accuracy/top1': 0.0, 'accuracy/top5': 100.0}


@pytest.mark.parametrize('topk', [(9,), (2, 5)])
def test_accuracy_that_is_always_100_is_refused(topk):
    with pytest.raises(
        ArgumentError, match=r'^topk is \(.*\), with which every image is right, as there are 2 classes; give'
    ):
        Accuracy(topk=topk).process(None, samples([[0.1, 0.7]], [0]))
