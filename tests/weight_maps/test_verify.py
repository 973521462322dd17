"""Verification must fail for wrong maps, above all for those whose shapes match."""

import copy

import pytest
import timm
import torch
from timm.layers.grn import GlobalResponseNorm
from torch import nn

from motivation.weight_maps import AutoMap, ExplicitMap, TensorPair, WeightMap, verify

VIT = dict(num_classes=5, img_size=32, patch_size=16, depth=1)
SIZE = (3, 32, 32)


def vits():
    return [timm.create_model(name, **VIT) for name in ('vit_tiny_patch16_224', 'vit_small_patch16_224')]


def with_index(weight_map, name, index):
    pairs = [TensorPair(p.base, p.motivated, index) if p.base == name else p for p in weight_map.pairs]
    return WeightMap(weight_map.model('base'), weight_map.model('motivated'), pairs)


def test_leading_slice_of_a_fused_qkv_is_detected():
    right = AutoMap(*vits())
    assert verify(right, SIZE).is_valid
    wrong = with_index(right, 'blocks.0.attn.qkv.weight', (tuple(range(576)), tuple(range(192))))
    verdict = verify(wrong, SIZE)
    assert not verdict.is_valid and verdict.error > 1e-3 and verdict.round_trip
    assert str(verdict).startswith('NOT VALID')


def test_leading_slice_of_grouped_convolutions_is_detected():
    """In ResNeXt, 4 of 8 channels in each of 32 groups are not the first 128 channels."""
    sizes = dict(num_classes=5, channels=(32, 32, 64, 64), layers=(1, 1, 1, 1))
    base, motivated = (timm.create_model('resnext50_32x4d', base_width=width, **sizes) for width in (4, 8))
    right = AutoMap(base, motivated, input_size=SIZE)
    rows = next(pair.index[0] for pair in right.pairs if pair.base == 'layer2.0.conv2.weight')
    assert rows[:6] == (0, 1, 16, 17, 32, 33)[:2] + rows[2:6] and rows != tuple(range(len(rows)))
    wrong = [TensorPair(p.base, p.motivated, tuple(r and tuple(range(len(r))) for r in p.index)) for p in right.pairs]
    assert verify(right, SIZE).is_valid
    assert not verify(WeightMap(base, motivated, wrong), SIZE).is_valid


def test_reader_with_other_channels_than_the_writer_is_detected():
    right = AutoMap(
        timm.create_model('mobilenetv2_050', num_classes=5), timm.create_model('mobilenetv2_100', num_classes=5)
    )
    name = 'blocks.1.0.bn1.weight'
    count = len(next(pair.index[0] for pair in right.pairs if pair.base == name))
    wrong = with_index(right, name, (tuple(range(1, count + 1)),))
    assert verify(right, SIZE).is_valid and not verify(wrong, SIZE).is_valid


def test_blocks_in_another_order_are_detected():
    base, motivated = (timm.create_model('cifar_resnet20', num_classes=5) for _ in range(2))
    swap = {'layer1.1': 'layer1.2', 'layer1.2': 'layer1.1'}
    names = [(n, n.replace(n[:8], swap.get(n[:8], n[:8]))) for n in base.state_dict()]
    verdict = verify(WeightMap(base, motivated, names), SIZE)
    assert not verdict.is_valid and verdict.kind == 'exact'


def test_models_do_not_change():
    weight_map = AutoMap(*vits())
    before = [copy.deepcopy(weight_map.model(name).state_dict()) for name in ('base', 'motivated')]
    state = torch.get_rng_state()
    verify(weight_map, SIZE)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensors in zip(('base', 'motivated'), before, strict=True):
        assert all(torch.equal(tensor, tensors[key]) for key, tensor in weight_map.model(name).state_dict().items())


@pytest.mark.parametrize('channels', ['leading', 'seeded'])
def test_saved_map_is_restored(tmp_path, channels):
    base, motivated = vits()
    found = AutoMap(base, motivated, channels=channels)
    found.save(tmp_path / 'map.json')
    read = ExplicitMap(base, motivated, file=str(tmp_path / 'map.json'))
    assert read.pairs == found.pairs
    assert verify(read, SIZE).is_valid


@pytest.mark.parametrize(
    ('names', 'tensor'),
    [
        (('efficientnet_b0', 'efficientnet_b2'), 'conv_stem.weight'),
        (('mobilenetv2_050', 'mobilenetv2_100'), 'blocks.0.0.conv_dw.weight'),
        (('mobilenetv3_small_075', 'mobilenetv3_small_100'), 'conv_stem.weight'),
    ],
)
def test_error_in_the_first_layers_of_a_deep_network_is_detected(names, tensor):
    base, motivated = (timm.create_model(name, num_classes=5) for name in names)
    right = AutoMap(base, motivated, channels='seeded', input_size=(3, 64, 64))
    shape = base.get_parameter(tensor).shape
    index = next(pair.index for pair in right.pairs if pair.base == tensor) or (None,) * len(shape)
    rows = index[0] or tuple(range(shape[0]))
    wrong = with_index(right, tensor, ((*rows[1:4], rows[0], *rows[4:]), *index[1:]))
    assert verify(right, (3, 64, 64)).is_valid
    assert verify(wrong, (3, 64, 64)).error > 1e-4


def test_group_norm_across_groups_is_detected():
    def network(channels, groups):
        return nn.Sequential(
            nn.Conv2d(3, channels, 1), nn.GroupNorm(groups, channels), nn.ReLU(), nn.Flatten(), nn.Linear(16 * channels, 2)
        )  # fmt: skip

    base, motivated = network(8, 4), network(16, 8)
    right = AutoMap(base, motivated, input_size=(3, 4, 4))
    assert verify(right, (3, 4, 4)).kind == 'exact' and verify(right, (3, 4, 4)).is_valid
    shift = {tuple(range(8)): tuple(range(1, 9)), tuple(range(128)): tuple(range(16, 144))}
    pairs = [TensorPair(p.base, p.motivated, tuple(shift.get(i, i) for i in p.index)) for p in right.pairs]
    assert not verify(WeightMap(base, motivated, pairs), (3, 4, 4)).is_valid


def test_outputs_that_ignore_the_image_do_not_prove_a_map():
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(48, 2)

        def forward(self, images):
            return self.head(1e-9 * images.flatten(1))

    verdict = verify(AutoMap(Deaf(), Deaf(), input_size=(3, 4, 4)), (3, 4, 4))
    assert verdict.error == 0 and not verdict.is_valid and str(verdict).startswith('NOT PROVEN')


class Branch(nn.Module):
    """A branch with as many positions as channels, which sizes cannot distinguish."""

    def __init__(self, channels, channels_last):
        super().__init__()
        self.channels_last = channels_last
        self.stem = nn.Conv2d(3, channels, 1)
        self.norm = GlobalResponseNorm(channels, channels_last=channels_last)
        self.head = nn.Conv2d(channels, 2, 8)

    def forward(self, images):
        inputs = self.stem(images)
        if self.channels_last:
            return self.head(self.norm(inputs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).flatten(1)
        return self.head(self.norm(inputs)).flatten(1)


@pytest.mark.parametrize('channels_last', [False, True])
def test_global_response_norm_is_compared_but_for_its_mean_over_channels(channels_last):
    right = AutoMap(Branch(8, channels_last), Branch(16, channels_last), input_size=(3, 8, 8))
    verdict = verify(right, (3, 8, 8))
    assert verdict.is_valid and verdict.kind == 'norms apart'
    wrong = with_index(right, 'norm.weight', ((1, 0, *range(2, 8)),))
    assert verify(wrong, (3, 8, 8)).error > 1e-3


def test_convnext_v2_in_a_wider_one_is_proven_and_a_wrong_map_found_out():
    base, motivated = (
        timm.create_model('convnextv2_atto', num_classes=5, depths=(1, 1, 1, 1), dims=dims)
        for dims in ((8, 8, 16, 16), (12, 12, 24, 24))
    )
    right = AutoMap(base, motivated, input_size=SIZE)
    verdict = verify(right, SIZE)
    assert verdict.is_valid and verdict.kind == 'norms apart'
    for tensor in ('stages.0.blocks.0.mlp.grn.weight', 'stages.3.blocks.0.mlp.grn.bias'):
        (count,) = base.get_parameter(tensor).shape
        assert verify(with_index(right, tensor, ((1, 0, *range(2, count)),)), SIZE).error > 1e-6
