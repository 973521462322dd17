"""MACs, compared with an independent reference and with counts by hand."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from motivation.compute import forward_check, step_macs
from motivation.compute.forward_check import check_forward
from motivation.compute.forward_macs import count_forward
from motivation.compute.macs import Macs, StepMacs, measure_model
from motivation.compute.step_macs import count_train_step, dispatch_forward
from motivation.errors import ConfigError
from motivation.models import TimmClassifier
from tests.untrained import untrained


def sample(*size):
    return {'inputs': torch.zeros(1, *size, dtype=torch.uint8), 'targets': torch.tensor([0])}


SAMPLE = sample(3, 64, 64)

# MACs per image in training mode with cross-entropy, counted with torch 2.15 by a dispatcher with
# corrected convolution formula and confirmed by explicit matrix products.
REFERENCE = {
    'resnet18': (224, 1814073344, 3510132736),
    'resnet34': (224, 3663761408, 7209508864),
    'efficientnet_b0': (224, 385814752, 760791488),
    'efficientnet_b1': (240, 686802832, 1361164064),
    'vit_tiny_patch16_224': (224, 1253683200, 2567880960),
    'convnext_atto': (224, 547332480, 1088643840),
    'mixer_s32_224': (224, 1002426368, 1927782400),
    'swin_tiny_patch4_window7_224': (224, 4490566656, 8966682624),
}


@pytest.mark.parametrize('name', REFERENCE)
def test_macs_equal_the_reference(name):
    side, forward, backward = REFERENCE[name]
    with untrained():
        model = TimmClassifier(name, num_classes=1000)
    macs = measure_model(model, sample(3, side, side))
    assert macs.network == macs.step.forward == macs.inference == Macs(forward)
    assert macs.step.backward == Macs(backward)


def test_macs_of_cifar_resnet20_equal_those_by_hand():
    """Count all convolutions and the classifier from the widths; the input of the stem needs no gradient."""
    stem = 32 * 32 * 3 * 16 * 9
    stage1 = 6 * 32 * 32 * 16 * 16 * 9
    stage2 = 16 * 16 * (16 * 32 * 9 + 5 * 32 * 32 * 9 + 16 * 32)
    stage3 = 8 * 8 * (32 * 64 * 9 + 5 * 64 * 64 * 9 + 32 * 64)
    forward = stem + stage1 + stage2 + stage3 + 64 * 10
    macs = measure_model(TimmClassifier('cifar_resnet20', num_classes=10), sample(3, 32, 32))
    assert macs.network == macs.step.forward == macs.inference == Macs(forward)
    assert macs.step.backward == Macs(2 * forward - stem)


class Products(nn.Module):
    """An operator that fvcore misses or counts wrongly."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 4, 3, padding='same')
        self.weight = nn.Parameter(torch.randn(5, 6))
        self.vector = nn.Parameter(torch.randn(6))

    def forward(self, x):
        images = len(x)
        if self.kind == 'same':
            return self.conv(x)
        wide = x.flatten(1)[:, :12].reshape(images, 2, 6)
        if self.kind == 'broadcast':
            return self.weight @ wide.transpose(1, 2)  # (5, 6) @ (N, 6, 2)
        if self.kind == 'vector':
            return wide @ self.vector
        if self.kind == 'baddbmm':
            return torch.baddbmm(torch.zeros(1), wide, wide.transpose(1, 2))
        if self.kind == 'inner':
            return torch.inner(wide, self.weight)  # (N, 2, 6) and (5, 6)
        if self.kind == 'tensordot':
            return torch.tensordot(wide, self.weight.t()[:2], dims=([1], [0]))  # (N, 2, 6) and (2, 5)
        if self.kind == 'attention':
            return F.scaled_dot_product_attention(wide, wide, wide)
        return torch.addbmm(torch.zeros(2, 2), wide, wide.transpose(1, 2))


@pytest.mark.parametrize(
    ('kind', 'macs'),
    [
        ('inner', 2 * 2 * 6 * 5),
        ('tensordot', 2 * 6 * 2 * 5),
        ('same', 2 * 8 * 8 * 4 * 3 * 9),
        ('broadcast', 2 * 5 * 6 * 2),
        ('vector', 2 * 2 * 6),
        ('baddbmm', 2 * 2 * 6 * 2),
        ('addbmm', 2 * 2 * 6 * 2),
        ('attention', 2 * 2 * 2 * (6 + 6)),
    ],
)
def test_forward_counts_operators_that_fvcore_misses(kind, macs):
    assert count_forward(Products(kind), torch.randn(2, 3, 8, 8)).total == macs


def test_forward_does_not_count_norms_and_pooling():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=2))
    assert count_forward(network, torch.randn(2, 3, 8, 8)).total == 0


def test_frozen_layers_have_no_weight_gradient():
    model = TimmClassifier('test_resnet', num_classes=8)
    layers = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    model.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = {'inputs': torch.randn(2, 3, 6, 6), 'targets': torch.tensor([0, 1])}
    first, second = 6 * 6 * 3 * 8, 6 * 6 * 8 * 8 * 9
    assert count_train_step(model, data).modules[''] == (2 * (first + second), 2 * (first + second))


def test_gradient_checkpointing_recomputes_blocks_without_their_last_layer():
    plain = TimmClassifier('test_vit', num_classes=10).train()
    thrifty = TimmClassifier('test_vit', num_classes=10).train()
    thrifty.backbone.set_grad_checkpointing()
    data = {'inputs': torch.zeros(2, 3, 160, 160), 'targets': torch.tensor([0, 1])}
    plainly, thriftily = count_train_step(plain, data), count_train_step(thrifty, data)
    macs = dispatch_forward(plain.backbone, data['inputs'], by_module=True).modules
    # Torch does not recompute the last layer of a block, whose output no gradient needs.
    last = sum(macs[f'blocks.{index}.mlp.fc2'][0] for index in range(len(plain.backbone.blocks)))
    assert thriftily.modules[''] == (plainly.forward, plainly.backward + macs['blocks'][0] - last)
    assert all(parameter.grad is None for parameter in thrifty.parameters())
    assert (
        count_forward(thrifty.backbone, data['inputs']).total
        == dispatch_forward(thrifty.backbone, data['inputs']).forward
    )
    assert thrifty.backbone.grad_checkpointing  # the trace of the forward pass did without on a copy


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Bilinear(4, 4, 5)

    def forward(self, x):
        return self.layer(x, x)


def test_operator_without_a_formula_is_an_error():
    for count, operator in ((count_forward, 'bilinear'), (dispatch_forward, '_trilinear')):
        with pytest.raises(ConfigError, match=f"'aten::{operator}' cannot be counted"):
            count(Bilinear(), torch.zeros(2, 3, 4, 4))


class TwoSteps(TimmClassifier):
    """Runs two backward passes per step, as sharpness-aware minimisation does."""

    def train_step(self, data, optim_wrapper):
        prepared = self.data_preprocessor(data, True)
        for _ in range(2):
            loss, log_vars = self.parse_losses(self(**prepared, mode='loss'))
            optim_wrapper.update_params(loss)
        return log_vars


def test_custom_training_step_is_counted():
    plain, twice = (measure_model(kind('test_resnet', num_classes=10), SAMPLE) for kind in (TimmClassifier, TwoSteps))
    assert twice.network == plain.network == plain.step.forward
    assert twice.step == StepMacs(*(Macs(2 * part.per_image) for part in plain.step))


class Auxiliary(TimmClassifier):
    """Adds a loss on mirrored images to the training step, which a loss on the logits does not have."""

    def forward(self, inputs, targets=None, mode='tensor'):
        outputs = super().forward(inputs, targets, mode)
        if mode == 'loss':
            outputs['mirrored_loss'] = self.loss(self.backbone(inputs.flip(3)), targets)
        return outputs


def test_distillation_step_is_on_the_logits_only():
    plain, further = (
        measure_model(kind('test_resnet', num_classes=10), SAMPLE, distillation=True)
        for kind in (TimmClassifier, Auxiliary)
    )
    assert plain.distillation == plain.step == further.distillation
    assert further.step == StepMacs(*(Macs(2 * part.per_image) for part in plain.step))


class Value(TimmClassifier):
    def forward(self, inputs, targets=None, mode='tensor'):
        outputs = super().forward(inputs, targets, mode)
        if mode == 'loss':
            outputs['loss_so_far'] = torch.tensor(outputs['loss'].item())  # a look at a value
        return outputs


def test_step_that_reads_values_is_counted_without_changing_the_model():
    model = Value('test_resnet', num_classes=10)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert measure_model(model, SAMPLE) == measure_model(TimmClassifier('test_resnet', num_classes=10), SAMPLE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


class Contrast(TimmClassifier):
    """Compares the images of a batch with each other."""

    def forward(self, inputs, targets=None, mode='tensor'):
        logits = super().forward(inputs)
        return {'loss': (logits @ logits.t()).mean()} if mode == 'loss' else logits


def test_compute_quadratic_in_the_batch_size_is_an_error():
    with pytest.raises(ConfigError, match=r"^model 'test_resnet' computes [\d,]+, [\d,]+ and [\d,]+ MACs for"):
        measure_model(Contrast('test_resnet', num_classes=10), SAMPLE)


class WhileSmall(TimmClassifier):
    """Runs twice on batches of less than eight images."""

    def forward(self, inputs, targets=None, mode='tensor'):
        if mode == 'loss' and len(inputs) < 8:
            super().forward(inputs)
        return super().forward(inputs, targets, mode)


class AtRandom(TimmClassifier):
    """Runs twice at random, as a network that drops layers does."""

    def forward(self, inputs, targets=None, mode='tensor'):
        if mode == 'loss' and random.random() < 0.5:
            super().forward(inputs)
        return super().forward(inputs, targets, mode)


@pytest.mark.parametrize('kind', [WhileSmall, AtRandom])
def test_compute_that_is_not_affine_at_the_batch_size_of_the_run_is_an_error(kind):
    with pytest.raises(ConfigError, match=r'MACs for 2, 4, 6 and 64 images, which is not a fixed number .* is random'):
        measure_model(kind('test_resnet', num_classes=10), SAMPLE, batch_size=64)


class Saliency(nn.Module):
    """A data preprocessor with a network."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.layer = inner, nn.Conv2d(3, 3, 1)

    def forward(self, data, training=False):
        prepared = self.inner(data, training)
        with torch.no_grad():
            return {**prepared, 'inputs': prepared['inputs'] * self.layer(prepared['inputs'])}


def test_network_of_a_data_preprocessor_is_part_of_the_training_step():
    model = TimmClassifier('test_resnet', num_classes=10)
    plain = measure_model(model, SAMPLE)
    model.data_preprocessor = Saliency(model.data_preprocessor)
    macs = measure_model(model, SAMPLE)
    assert macs.network == plain.network and macs.step.backward == plain.step.backward
    assert macs.step.forward.per_image == plain.step.forward.per_image + 64 * 64 * 3 * 3


class Taught(TimmClassifier):
    """Has a torch encoder, which runs as one fused operator if it is frozen."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        layer = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=32, batch_first=True)
        self.teacher = (nn.TransformerEncoder(layer, num_layers=2).eval().requires_grad_(False),)

    def forward(self, inputs, targets=None, mode='tensor'):
        if mode == 'loss':
            with torch.no_grad():
                self.teacher[0](inputs.flatten(1)[:, :160].reshape(len(inputs), 10, 16))
        return super().forward(inputs, targets, mode)


def test_frozen_encoder_counts_its_matrix_products():
    plain, taught = (measure_model(kind('test_resnet', num_classes=10), SAMPLE) for kind in (TimmClassifier, Taught))
    layer = 10 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16  # ten tokens: projections, feed-forward, attention
    assert taught.step.forward.per_image == plain.step.forward.per_image + 2 * layer


class Inverse(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(12))

    def forward(self, x):
        return x.flatten(1) @ torch.linalg.inv(self.weight)


def test_network_that_fails_with_zero_weights_is_counted_with_its_own():
    check_forward(Inverse(), torch.zeros(2, 3, 2, 2))


def test_model_with_nothing_to_train_is_an_error():
    with pytest.raises(ConfigError, match=r"^model 'test_resnet' has nothing to train: requires_grad is"):
        measure_model(TimmClassifier('test_resnet', num_classes=10).requires_grad_(False), SAMPLE)


def test_model_that_does_not_run_on_the_images_is_an_error_with_its_reason():
    with pytest.raises(
        ConfigError,
        match=r"^model 'test_vit' does not run on batches of images of \(3, 31, 31\), .*should be divisible by patch size"
        r'.* \(line \d+ of .*\); fix the model, whose forward\(inputs\) returns logits, or the shape of its inputs$',
    ):
        measure_model(TimmClassifier('test_vit', num_classes=10), sample(3, 31, 31))


def test_model_is_copied_once_and_counted_by_fvcore_on_request_only(monkeypatch):
    copies, checks = [], []
    fake_copy = step_macs.fake_copy
    monkeypatch.setattr(step_macs, 'fake_copy', lambda *args: copies.append(1) or fake_copy(*args))
    monkeypatch.setattr(forward_check, 'check_forward', lambda *args: checks.append(1))
    model = TimmClassifier('test_resnet', num_classes=10)
    plain = measure_model(model, SAMPLE, distillation=True, batch_size=64)
    assert (len(copies), len(checks)) == (1, 0)
    assert measure_model(model, SAMPLE, distillation=True, batch_size=64, check=True) == plain
    assert (len(copies), len(checks)) == (2, 1)


class ByValue(TimmClassifier):
    """Runs twice on images that are not black."""

    def forward(self, inputs, targets=None, mode='tensor'):
        if (inputs != inputs[0, 0, 0, 0]).any():
            super().forward(inputs)
        return super().forward(inputs, targets, mode)


def test_compute_that_depends_on_values_is_always_an_error():
    bright = {**SAMPLE, 'inputs': torch.arange(3 * 64 * 64).remainder(256).to(torch.uint8).view(1, 3, 64, 64)}
    with pytest.raises(ConfigError, match='depends on the values of its inputs, which cannot be counted in advance'):
        measure_model(ByValue('test_resnet', num_classes=10), bright)
