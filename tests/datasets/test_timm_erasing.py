"""Erasing of batches against timm's of normalised images."""

import random

import pytest
import torch
from timm.data.random_erasing import RandomErasing

from motivation.datasets.device_loader import divide
from motivation.datasets.timm_erasing import BatchTimmErasing, TimmErasing
from motivation.errors import ConfigError
from motivation.registry import BATCH_TRANSFORMS, TRANSFORMS

SIDE, IMAGES = 16, 1500


@pytest.mark.parametrize('count', [1, 3])
def test_erased_shares_are_distributed_as_timms(count):
    torch.manual_seed(0)
    random.seed(0)
    ones = torch.ones(IMAGES, 3, SIDE, SIDE)
    ours = BatchTimmErasing(p=0.6, mode='const', max_count=count, mean=[0.0])(ones)
    theirs = RandomErasing(0.6, mode='const', max_count=count, device='cpu')(ones.clone())
    shares = [(images[:, 0] == 0).double().mean((1, 2)) for images in (ours, theirs)]
    for moment in (1, 2):
        first, second = (share**moment for share in shares)
        error = ((first.var() + second.var()) / IMAGES).sqrt()
        assert (first.mean() - second.mean()).abs() <= 4 * error
    assert abs((shares[0] > 0).double().mean() - 0.6) < 0.05
    assert torch.equal(ours, ours[:, :1].expand_as(ours))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
@pytest.mark.parametrize('mode', ['const', 'rand', 'pixel'])
def test_boxes_hold_what_the_mode_says(mode, dtype):
    torch.manual_seed(0)
    mean, std = [0.5, 0.4, 0.6], [0.1, 0.05, 0.02]
    scale = 255 if dtype is torch.uint8 else 1
    images = torch.zeros(400, 3, SIDE, SIDE, dtype=dtype)
    erased = BatchTimmErasing(p=1.0, mode=mode, mean=mean, std=std)(images)
    assert erased.dtype is dtype
    boxes = (erased != 0).any(1)
    for channel in range(3):
        of_channel = erased[:, channel].double() / scale
        within = [row[box] for row, box in zip(of_channel, boxes, strict=True)]
        means = torch.stack([values.mean() for values in within])
        assert means.mean().item() == pytest.approx(mean[channel], abs=0.02)
        spreads = [values.std().item() for values in within if len(values) > 30]
        expected = {'const': 0, 'rand': 0, 'pixel': std[channel]}[mode]
        assert sum(spreads) / len(spreads) == pytest.approx(expected, abs=0.01)
        between = {'const': 0, 'rand': std[channel]}.get(mode)
        assert between is None or means.std().item() == pytest.approx(between, abs=0.012)


def test_an_image_is_a_batch_of_one_and_the_device_loader_takes_its_version_for_batches():
    config = dict(type='TimmErasing', p=1.0, mode='const', mean=[1.0], std=[1.0])
    image = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    torch.manual_seed(3)
    one = TRANSFORMS.build(config)(image)
    torch.manual_seed(3)
    assert torch.equal(one, BATCH_TRANSFORMS.build(config)(image[None])[0]) and one.max() == 255
    once, batched = divide(dict(type='DigitsDataset', transforms=[config]))
    assert once['transforms'] == [] and [name for name, _ in batched] == ['transforms.0']


def test_wrong_arguments_are_named():
    for arguments, message in (
        (dict(min_area=0.5, max_area=0.1), '^min_area is 0.5, above max_area, 0.1'),
        (dict(mode='random'), r"^mode must be 'const', 'rand' or 'pixel', got 'random'"),
    ):
        with pytest.raises(ConfigError, match=message):
            TimmErasing(**arguments)
    with pytest.raises(ConfigError, match=r'^mean has 3 numbers, and the images 1 channels'):
        TimmErasing(p=1.0)(torch.zeros(1, SIDE, SIDE))
