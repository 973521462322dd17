"""Classes of the validation data that no image has."""

from types import SimpleNamespace

import pytest

from motivation.engine.checks import absent_classes
from motivation.evaluation import Accuracy, TorchMetric
from tests.datasets.test_samplers import Labelled


@pytest.mark.parametrize(
    ('metric', 'targets', 'warns'),
    [
        (TorchMetric('AUROC'), [0, 1, 1, 0], True),
        (TorchMetric('AUROC'), [0, 1, 2, 0], False),
        (TorchMetric('F1Score', average='micro'), [0, 1, 1, 0], False),
        (Accuracy((1,)), [0, 1, 1, 0], False),
    ],
)
def test_warning_names_classes_that_an_average_leaves_out(metric, targets, warns, monkeypatch):
    said = []
    monkeypatch.setattr(absent_classes, 'print_log', lambda text, *_: said.append(text))
    data = Labelled(targets)
    data.metainfo = {'classes': ['ant', 'bee', 'cat']}
    evaluators = {name: SimpleNamespace(metrics=[metric]) for name in ('base', 'motivated')}
    absent_classes.warn_of_absent_classes(
        SimpleNamespace(dataloader=SimpleNamespace(dataset=data), evaluators=evaluators), 'val'
    )
    assert bool(said) == warns
    if warns:
        assert said[0].startswith('1 of 3 classes have no image in val_dataloader.dataset (') and 'cat' in said[0]
