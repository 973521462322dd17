"""Results of the shortcuts, compared with those that torch computes."""

import pytest
import torch
from torch import nn

from motivation.compute import step_macs
from motivation.compute.shortcuts import SHORTCUTS
from motivation.compute.step_macs import count_train_step
from motivation.models import TimmClassifier

aten = torch.ops.aten
IMAGES, ROWS, CHANNELS = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 6), torch.randn(3)
LAST = IMAGES.to(memory_format=torch.channels_last)
NORM = aten.native_batch_norm.default, aten.native_batch_norm_backward.default
LAYER = aten.native_layer_norm.default, aten.native_layer_norm_backward.default


def calls():
    for images in (IMAGES, LAST):
        for training in (True, False):
            statistics = torch.zeros(3), torch.ones(3)
            for weight in (CHANNELS, None):
                yield NORM[0], (images, weight, weight, *statistics, training, 0.1, 1e-5)
            saved = (torch.zeros(3), torch.ones(3)) if training else (torch.zeros(0), torch.zeros(0))
            for mask in ([True, True, True], [False, True, True], [True, False, False]):
                yield NORM[1], (images, images, CHANNELS, *statistics, *saved, training, 1e-5, mask)
    for shape in ([6], [7, 6]):
        weight = torch.ones(shape)
        saved = torch.zeros(*ROWS.shape[: 3 - len(shape)], *[1] * len(shape))
        yield LAYER[0], (ROWS, shape, weight, weight, 1e-5)
        yield LAYER[0], (ROWS, shape, None, None, 1e-5)
        yield LAYER[1], (ROWS, ROWS, shape, saved, saved + 1, weight, weight, [True, True, True])
        yield LAYER[1], (ROWS, ROWS, shape, saved, saved + 1, weight, None, [True, True, False])
    for images in (IMAGES, LAST):
        yield aten.threshold_backward.default, (images, images, 0)
        for operator in SHORTCUTS:
            if operator not in (*NORM, *LAYER, aten.threshold_backward.default):
                yield operator, (images, images)


@pytest.mark.parametrize(
    ('operator', 'arguments'), list(calls()), ids=lambda value: str(value) if callable(value) else ''
)
def test_results_have_the_shapes_that_torch_computes(operator, arguments):
    computed, at_once = operator(*arguments), SHORTCUTS[operator](*arguments)
    for one, other in zip(*(made if isinstance(made, tuple) else (made,) for made in (computed, at_once)), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())


def test_every_shortcut_is_tested():
    assert {operator for operator, _ in calls()} == SHORTCUTS.keys()


class Norms(nn.Sequential):
    """All norms and activations with shortcuts, between two counted layers."""

    def __init__(self):
        channels = nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False), nn.SiLU(), nn.GELU(), nn.ReLU()
        rows = nn.LayerNorm(8), nn.LayerNorm(8, elementwise_affine=False), nn.Sigmoid(), nn.Tanh(), nn.Hardswish()
        super().__init__(nn.Conv2d(3, 8, 1), *channels, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *rows, nn.Linear(8, 3))


def test_counts_are_the_same_without_shortcuts(monkeypatch):
    model = TimmClassifier('test_resnet', num_classes=3).train()
    model.backbone = Norms()
    data = {'inputs': torch.randn(2, 3, 6, 6), 'targets': torch.tensor([0, 1])}
    counted = count_train_step(model, data)
    monkeypatch.setattr(step_macs, 'SHORTCUTS', {})
    assert counted == count_train_step(model, data) and counted.backward > 0
