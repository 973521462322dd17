"""Smaller images must show all that a wrong map could get wrong."""

import timm
import torch
from torch import nn

from motivation.utils.example import ImageExample
from motivation.weight_maps import AutoMap, TensorPair, WeightMap, verify
from motivation.weight_maps.small_images import smallest_running, smallest_telling

SIZE = (3, 256, 256)


def network(kernel, channels=8):
    """A kernel on a map that is a 32nd of the image a side."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 32, stride=32),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 5),
    )


def test_images_are_large_enough_for_every_place_of_a_kernel():
    """On 64 px the map has two pixels a side, on 128 px four: from one to the next it is at most one, or three."""
    assert smallest_telling([network(3)], ImageExample(SIZE)) == ImageExample((3, 64, 64))
    assert smallest_telling([network(7)], ImageExample(SIZE)) == ImageExample((3, 128, 128))
    assert smallest_running([network(7)], ImageExample(SIZE)) == ImageExample((3, 64, 64))
    assert smallest_telling([network(7)], ImageExample((3, 96, 96))) == ImageExample((3, 96, 96))  # not worth the while


def test_networks_for_one_size_are_looked_at_on_it():
    swin = timm.create_model('swin_tiny_patch4_window7_224', num_classes=5, depths=(1, 1, 1, 1))
    assert smallest_telling([network(3), swin], ImageExample((3, 224, 224))) == ImageExample((3, 224, 224))
    assert smallest_running([network(3), swin], ImageExample((3, 224, 224))) == ImageExample((3, 224, 224))


def test_looking_leaves_a_model_as_it_is():
    model = timm.create_model('test_resnet', num_classes=5)
    before, state = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    smallest_telling([model], ImageExample(SIZE))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and torch.equal(torch.get_rng_state(), state)


def test_kernel_upside_down_is_found_out_on_small_images_too():
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


def test_transfer_that_does_nothing_on_the_way_back_is_found_out():
    base, motivated = network(3), network(3)
    verdict = verify(OneWay(base, motivated, [(name, name) for name in base.state_dict()]), SIZE)
    assert verdict.error == 0 and not verdict.round_trip and not verdict.is_valid
