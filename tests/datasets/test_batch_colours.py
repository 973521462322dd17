"""Erasing and colour jitter of batches against torchvision's of single images."""

import pytest
import torch
from torchvision.transforms import v2

from motivation.datasets.batch_colours import BatchColorJitter, BatchRandomErasing, adjust, overwrite
from motivation.errors import ArgumentError
from motivation.registry import BATCH_TRANSFORMS, TRANSFORMS
from tests.datasets.test_batch_crops import images_of

FUNCTIONS = [getattr(v2.functional, f'adjust_{name}') for name in ('brightness', 'contrast', 'saturation', 'hue')]


def test_erasing_is_exactly_torchvisions_for_the_same_boxes():
    images = images_of(50)
    erasing = BatchRandomErasing(p=0.7, value=[1, 2, 3])
    boxes = erasing._draw(images)
    expected = [
        v2.functional.erase(image, *map(int, box), v=torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1))
        for image, box in zip(images, zip(*boxes, strict=True), strict=True)
    ]
    assert torch.equal(overwrite(images, boxes, erasing._values(images)), torch.stack(expected))


def test_boxes_of_erasing_are_distributed_as_torchvisions():
    own, times, image = v2.RandomErasing(p=1, scale=(0.02, 0.9)), 1500, images_of(1)
    torch.manual_seed(0)
    expected = [own.make_params([image[0]]) for _ in range(times)]
    *drawn, width = BatchRandomErasing(p=1, scale=(0.02, 0.9))._draw(image.expand(times, -1, -1, -1))
    drawn.append(torch.where(drawn[2] > 0, width, 0))
    for name, ours in zip('ijhw', drawn, strict=True):
        theirs = torch.tensor([float(box[name]) if box['v'] is not None else 0 for box in expected])
        error = ((ours.float().var() + theirs.var()) / times).sqrt()
        assert (ours.float().mean() - theirs.mean()).abs() <= 5 * error
        assert abs(ours.max() - theirs.max()) <= 1


def test_share_of_erased_images_is_p():
    torch.manual_seed(0)
    images = images_of(2000).clamp(min=1)
    erased = (BatchRandomErasing(p=0.3)(images) == 0).flatten(1).any(1)
    assert abs(erased.float().mean() - 0.3) < 0.05


def test_random_values_need_float_images():
    erasing = BatchRandomErasing(p=1, value='random')
    with pytest.raises(ArgumentError, match=r"^value is 'random', and the images are torch\.uint8; put "):
        erasing(images_of(2))
    assert erasing(torch.zeros(2, 3, 8, 8)).std() > 0


def test_values_must_be_as_many_as_channels():
    with pytest.raises(ArgumentError, match=r'^value has 2 numbers, and the images 3 channels'):
        BatchRandomErasing(p=1, value=[1, 2])(images_of(2))


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('place', range(4))
def test_each_change_of_colour_agrees_with_torchvision(place, channels):
    """To one of 255 grey levels, and float images to 2e-6."""
    images = images_of(64)[:, :channels]
    factors = torch.empty(64, 1, 1, 1).uniform_(*((-0.5, 0.5) if place == 3 else (0.2, 1.8)))
    changes = [factors if other == place else None for other in range(4)]
    for batch, most in ((images, 1), (images / 255, 2e-6)):
        got = adjust(batch, torch.arange(4).expand(64, 4), changes)
        expected = [FUNCTIONS[place](image, factor.item()) for image, factor in zip(batch, factors, strict=True)]
        assert got.dtype == batch.dtype
        assert (got.float() - torch.stack(expected).float()).abs().max() <= most


def test_changes_follow_each_other_in_the_order_of_each_image():
    """Float images, for what one rounds differently the next can amplify."""
    images = images_of(48) / 255
    torch.manual_seed(0)
    order = torch.rand(48, 4).argsort(1)
    factors = [torch.empty(48, 1, 1, 1).uniform_(*bounds) for bounds in ((0.5, 1.5),) * 3 + ((-0.1, 0.1),)]
    expected = images.clone()
    for number in range(48):
        for place in order[number]:
            expected[number] = FUNCTIONS[place](expected[number], factors[place][number].item())
    assert (adjust(images, order, factors) - expected).abs().max() < 1e-5


def test_factors_of_colour_jitter_are_those_of_its_bounds():
    """Grey images show the factor of their brightness."""
    torch.manual_seed(0)
    factors = BatchColorJitter(brightness=0.4)(torch.full((4000, 3, 1, 1), 0.5))[:, 0, 0, 0] / 0.5
    counts = torch.histc(factors, 8, 0.6, 1.4)
    assert factors.min() >= 0.6 and factors.max() <= 1.4
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # chi-square of 7 degrees of freedom, p = 0.001
    grey = torch.rand(8, 1, 4, 4)
    assert torch.equal(BatchColorJitter(saturation=0.5, hue=0.5)(grey), grey)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='ToDtype', dtype='float32', scale=True),
        dict(type='Normalize', mean=[0.1], std=[2.0]),
        dict(type='Resize', size=[5, 6]),
        dict(type='CenterCrop', size=5),
        dict(type='Grayscale', num_output_channels=3),
        dict(type='Pad', padding=2),
        dict(type='ToTensor'),
    ],
)
def test_transforms_without_random_numbers_treat_a_batch_as_they_do_its_images(config):
    images = images_of(4) if config['type'] != 'Normalize' else images_of(4) / 255
    single, batched = TRANSFORMS.build(dict(config)), BATCH_TRANSFORMS.build(dict(config))
    assert torch.equal(batched(images), torch.stack([single(image) for image in images]))
