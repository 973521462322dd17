"""Counts do not depend on how a network runs, and counting does not change it."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from motivation.compute.isolation import light_copy
from motivation.compute.macs import Macs, measure_model
from motivation.models import TimmClassifier
from tests.forked import run_forked

SAMPLE = {'inputs': torch.zeros(1, 3, 160, 160, dtype=torch.uint8), 'targets': torch.tensor([0])}


def vit(**kwargs):
    return TimmClassifier('test_vit', num_classes=10, **kwargs)


@pytest.fixture(scope='module')
def plain():
    return measure_model(vit(), SAMPLE)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_autocast_does_not_change_the_count(plain):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert measure_model(vit(), SAMPLE) == plain


def test_no_grad_and_inference_mode_do_not_change_the_count(plain):
    with torch.no_grad():
        assert measure_model(vit(), SAMPLE) == plain
    model = vit()
    with torch.inference_mode():
        assert measure_model(model, SAMPLE) == plain


def test_channels_last_does_not_change_the_count(plain):
    assert measure_model(vit().to(memory_format=torch.channels_last), SAMPLE) == plain
    convolutional = TimmClassifier('test_efficientnet', num_classes=10)
    assert measure_model(convolutional, SAMPLE) == measure_model(
        convolutional.to(memory_format=torch.channels_last), SAMPLE
    )


@pytest.mark.parametrize('how', ['whole', 'backbone', 'in place'])
def test_compilation_does_not_change_the_count(plain, how):
    model = vit()
    if how == 'whole':
        model = torch.compile(model)
    elif how == 'backbone':
        model.backbone = torch.compile(model.backbone)
    else:
        model.backbone.compile()
    assert measure_model(model, SAMPLE) == plain


def test_synchronized_norms_do_not_change_the_count(process_group):
    """Both norms with and norms without an activation."""
    for network in ('test_resnet', 'test_efficientnet'):
        model = TimmClassifier(network, num_classes=10)
        plain = measure_model(model, SAMPLE)
        assert measure_model(convert_sync_batchnorm(model), SAMPLE) == plain


@pytest.mark.parametrize('how', ['whole', 'backbone'])
def test_data_parallelism_does_not_change_the_count(plain, process_group, how):
    model = vit()
    if how == 'whole':
        model = DistributedDataParallel(model)
    else:
        model.backbone = DistributedDataParallel(model.backbone)
    assert measure_model(model, SAMPLE) == plain


def test_stochastic_depth_computes_dropped_blocks(plain):
    """timm multiplies the result of a dropped block by zero."""
    assert measure_model(vit(drop_path_rate=0.9), SAMPLE) == plain


def test_dropped_patches_are_computed_in_evaluation_only(plain):
    macs = measure_model(vit(patch_drop_rate=0.5), SAMPLE)
    assert macs.inference == plain.inference == plain.network
    # By hand: 100 patches of 16 x 16 pixels and the class token, or half the patches and the token.
    backbone = vit().backbone
    width, hidden, depth = backbone.embed_dim, backbone.blocks[0].mlp.fc1.out_features, len(backbone.blocks)

    def forward(tokens):
        block = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
        return 100 * 3 * 16 * 16 * width + depth * block + width * 10

    assert plain.network == Macs(forward(101))
    assert macs.network == Macs(forward(51)) == macs.step.forward
    assert macs.step.backward.per_image < 0.6 * plain.step.backward.per_image


def test_frozen_backbone_has_the_backward_of_its_head_only(plain):
    model = vit()
    model.backbone.requires_grad_(False)
    model.backbone.head.requires_grad_(True)
    macs = measure_model(model, SAMPLE)
    assert macs.step.forward == plain.step.forward
    assert macs.step.backward == Macs(model.backbone.embed_dim * 10)  # gradient to the head's weight


def test_counting_does_not_change_the_model():
    model = TimmClassifier('test_efficientnet', num_classes=10, drop_path_rate=0.5, mixup=dict(mixup_alpha=1.0))
    model.eval()
    model.backbone.blocks[0].train()  # a mode of its own
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    grad, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled('cpu')
    measure_model(model, SAMPLE)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert [module.training for module in model.modules()] == modes
    assert (torch.is_grad_enabled(), torch.is_autocast_enabled('cpu')) == (grad, autocast)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_light_copy_has_the_shapes_but_not_the_memory():
    network = nn.Sequential(nn.Linear(50, 40), nn.BatchNorm1d(40), nn.Linear(40, 50))
    light = light_copy(network)
    assert [p.shape for p in light.parameters()] == [p.shape for p in network.parameters()]
    assert len({p.untyped_storage().data_ptr() for p in light.parameters()}) == 1
    assert light.training and not light[1].training and network[1].training
    assert light[0](torch.zeros(1, 50)).shape == (1, 40)


MEMORY = """
import warnings; warnings.simplefilter('ignore')
from pathlib import Path
import torch
from motivation.compute.macs import measure_model
from motivation.compute.step_macs import count_train_step
from motivation.models import TimmClassifier

def measure(model, size):
    sample = {'inputs': torch.zeros(1, 3, size, size, dtype=torch.uint8), 'targets': torch.tensor([0])}
    batch = {'inputs': torch.zeros(1, 3, size, size).expand(256, -1, -1, -1), 'targets': torch.zeros(256, dtype=torch.long)}
    return measure_model(model, sample), count_train_step(model.train(), batch)

def memory(what):
    return int(Path('/proc/self/status').read_text().split(what)[1].split()[0]) / 1024

measure(TimmClassifier('test_vit', 1000), 160)  # what is loaded once
with torch.device('meta'):
    model = TimmClassifier('vit_large_patch16_224', 1000)
model.to_empty(device='cpu')  # weights of any value, which take long to draw
Path('/proc/self/clear_refs').write_text('5')  # the peak begins here
before = memory('VmRSS:')
macs, batch = measure(model, 224)
print(memory('VmHWM:') - before, macs.step.forward.per_image * 256 == batch.forward, macs.step.backward.per_image * 256 == batch.backward)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads the peak of memory from /proc')
def test_vit_large_at_batch_256_is_counted_within_100_mib():
    Path('memory.py').write_text(MEMORY)
    (done,) = run_forked('memory.py')
    assert done.returncode == 0, done.stderr
    mebibytes, *same = done.stdout.split()
    assert same == ['True', 'True']
    assert float(mebibytes) < 100


class Remembers(nn.Module):
    """A network with a layer used twice, and attributes that the forward pass changes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.twice = nn.Sequential(self.first, nn.ReLU(), self.first, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.calls, self.last = 0, None

    def forward(self, x):
        self.calls, self.last = self.calls + 1, x
        return self.twice(x)


@pytest.mark.parametrize('norm', [None, nn.utils.weight_norm])
def test_model_with_shared_layers_and_attributes_does_not_change(norm):
    model = TimmClassifier('test_resnet', num_classes=3)
    model.backbone = Remembers()
    if norm is not None:
        norm(model.backbone.first)
        model.backbone(torch.zeros(1, 3, 4, 4))
    parameters, calls, last = list(model.parameters()), model.backbone.calls, model.backbone.last
    macs = measure_model(model, {'inputs': torch.zeros(1, 3, 8, 8), 'targets': torch.tensor([0])})
    assert all(ours is theirs for ours, theirs in zip(model.parameters(), parameters, strict=True))
    assert model.backbone.calls == calls and model.backbone.last is last
    assert macs.step.forward.per_image == 2 * 64 * 3 * 3 * 9
    assert model.backbone(torch.zeros(1, 3, 4, 4)).isfinite().all()


def test_attention_caches_do_not_change():
    model = TimmClassifier('levit_128s', num_classes=10).eval()
    before = model(torch.zeros(1, 3, 224, 224))
    measure_model(model, {'inputs': torch.zeros(1, 3, 224, 224), 'targets': torch.tensor([0])})
    assert torch.equal(model(torch.zeros(1, 3, 224, 224)), before)
