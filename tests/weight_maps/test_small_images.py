"""Smaller images must still show every error of a map."""

import timm
import torch
from torch import nn

from motivation.utils.example import ImageExample
from motivation.weight_maps import AutoMap, TensorPair, WeightMap, verify
from motivation.weight_maps.small_images import smallest_running, smallest_telling

SIZE = (3, 256, 256)


def network(kernel, channels=8):
    """Return a network with a convolution on a feature map with sides of a 32nd of the image's."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 32, stride=32),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 5),
    )


def test_images_are_large_enough_for_all_positions_of_a_kernel():
    """With 64 px the feature map has sides of two pixels, with 128 px of four."""
    assert smallest_telling([network(3)], ImageExample(SIZE)) == ImageExample((3, 64, 64))
    assert smallest_telling([network(7)], ImageExample(SIZE)) == ImageExample((3, 128, 128))
    assert smallest_running([network(7)], ImageExample(SIZE)) == ImageExample((3, 64, 64))
    assert smallest_telling([network(7)], ImageExample((3, 96, 96))) == ImageExample((3, 96, 96))  # not worth the while


def test_networks_of_a_fixed_size_keep_it():
    swin = timm.create_model('swin_tiny_patch4_window7_224', num_classes=5, depths=(1, 1, 1, 1))
    assert smallest_telling([network(3), swin], ImageExample((3, 224, 224))) == ImageExample((3, 224, 224))
    assert smallest_running([network(3), swin], ImageExample((3, 224, 224))) == ImageExample((3, 224, 224))


def test_search_does_not_change_the_model():
    model = timm.create_model('test_resnet', num_classes=5)
    before, state = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    smallest_telling([model], ImageExample(SIZE))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and torch.equal(torch.get_rng_state(), state)


def test_flipped_kernel_is_detected_on_small_images():
    base, motivated = network(7), network(7, channels=12)
    right, said = AutoMap(base, motivated, input_size=SIZE), []
    assert verify(right, SIZE, progress=said.append).is_valid and '(3, 128, 128)' in said[-1]
    turned = {'1.weight': (tuple(range(8)), None, (6, 5, 4, 3, 2, 1, 0), None)}
    corner = {'1.weight': (tuple(range(8)), None, (6, 1, 2, 3, 4, 5, 0), None)}  # the outermost rows alone
    for wrong in (turned, corner):
        pairs = [TensorPair(pair.base, pair.motivated, wrong.get(pair.base, pair.index)) for pair in right.pairs]
        assert not verify(WeightMap(base, motivated, pairs), SIZE).is_valid


class OneWay(WeightMap):
    def transfer(self, source, statistics=False):
        if source == 'base':
            super().transfer(source, statistics)


def test_transfer_without_a_way_back_is_detected():
    base, motivated = network(3), network(3)
    verdict = verify(OneWay(base, motivated, [(name, name) for name in base.state_dict()]), SIZE)
    assert verdict.error == 0 and not verdict.round_trip and not verdict.is_valid
