"""Crops and flips of batches against torchvision's of single images."""

import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from motivation.datasets.batch_crops import (
    BatchHorizontalFlip,
    BatchRandomCrop,
    BatchRandomResizedCrop,
    BatchVerticalFlip,
    cut_and_resize,
)
from motivation.errors import ArgumentError

PAIRS = [
    (BatchRandomCrop, v2.RandomCrop, dict(size=10, padding=4)),
    (BatchRandomCrop, v2.RandomCrop, dict(size=[9, 6])),
    (BatchRandomCrop, v2.RandomCrop, dict(size=[14, 9], padding=[1, 2], padding_mode='reflect')),
    (BatchRandomCrop, v2.RandomCrop, dict(size=12, padding=[3, 0, 1, 2], fill=[1, 2, 3])),
    (BatchRandomCrop, v2.RandomCrop, dict(size=[16, 18], padding=1, pad_if_needed=True, padding_mode='edge')),
    (BatchHorizontalFlip, v2.RandomHorizontalFlip, dict()),
    (BatchHorizontalFlip, v2.RandomHorizontalFlip, dict(p=0.2)),
    (BatchVerticalFlip, v2.RandomVerticalFlip, dict(p=0.7)),
]


def images_of(count, size=(14, 11), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(('kind', 'single', 'arguments'), PAIRS)
def test_batch_of_one_is_bit_identical_to_torchvision_for_the_same_random_numbers(kind, single, arguments):
    batched, own = kind(**arguments), single(**arguments)
    for seed, image in enumerate(images_of(20)):
        torch.manual_seed(seed)
        expected = own(image)
        torch.manual_seed(seed)
        assert torch.equal(batched(image[None])[0], expected)


@pytest.mark.parametrize(('kind', 'single', 'arguments'), [PAIRS[0], PAIRS[6]])
def test_every_image_of_a_batch_is_one_that_torchvision_can_return(kind, single, arguments):
    """And each of those comes about as often as torchvision returns it."""
    image, own, times = images_of(1)[0], single(**arguments), 3000
    torch.manual_seed(0)
    expected = [own(image).numpy().tobytes() for _ in range(times)]
    got = [result.numpy().tobytes() for result in kind(**arguments)(image.expand(times, -1, -1, -1))]
    assert set(got) == set(expected)
    for result in set(expected):  # of two counts of one mean, the difference has this variance at most
        ours, theirs = got.count(result), expected.count(result)
        assert abs(ours - theirs) < 5 * (ours + theirs) ** 0.5


def test_crops_of_images_of_one_batch_differ():
    torch.manual_seed(0)
    crops = BatchRandomCrop(8, padding=4)(images_of(1).expand(64, -1, -1, -1))
    assert len({crop.numpy().tobytes() for crop in crops}) > 32


def test_crop_larger_than_the_image_raises():
    with pytest.raises(ArgumentError, match=r'^size is \(20, 20\), larger than the padded images, \(16, 13\); give a'):
        BatchRandomCrop(20, padding=1)(images_of(2))


@pytest.mark.parametrize('interpolation', [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
@pytest.mark.parametrize('size', [(14, 14), (5, 6), (30, 23)])
def test_resized_crop_agrees_with_torchvision_for_the_same_boxes(interpolation, size):
    """To 2 of 255 grey levels, and float images to 2e-6: sums in another order round differently."""
    images = images_of(40)
    boxes = BatchRandomResizedCrop(size)._draw(images)
    for batch, most in ((images, 2), (images / 255, 2e-6)):
        expected = torch.stack(
            [
                v2.functional.resized_crop(
                    image, *map(int, box), size=size, interpolation=interpolation, antialias=True
                )
                for image, box in zip(batch, zip(*boxes, strict=True), strict=True)
            ]
        )
        got = cut_and_resize(batch, boxes, size, interpolation)
        assert got.dtype == batch.dtype
        different = (got.float() - expected.float()).abs()
        assert different.max() <= most
        assert (different > 2e-6).float().mean() < 0.1


@pytest.mark.parametrize(
    'arguments', [dict(), dict(scale=(0.5, 1.5)), dict(scale=(0.9, 1), ratio=(3, 4)), dict(ratio=(0.1, 0.2))]
)
def test_boxes_of_resized_crops_are_distributed_as_torchvisions(arguments):
    """Each side and offset: means of 1,500 within five standard errors; the largest and smallest nearly the same."""
    own, times, image = v2.RandomResizedCrop(8, **arguments), 1500, images_of(1)
    torch.manual_seed(0)
    expected = [own.make_params([image[0]]) for _ in range(times)]
    drawn = BatchRandomResizedCrop(8, **arguments)._draw(image.expand(times, -1, -1, -1))
    for name, ours in zip(('top', 'left', 'height', 'width'), drawn, strict=True):
        theirs = torch.tensor([float(box[name]) for box in expected])
        error = ((ours.float().var() + theirs.var()) / times).sqrt()
        assert (ours.float().mean() - theirs.mean()).abs() <= 5 * error
        assert abs(ours.min() - theirs.min()) <= 1 and abs(ours.max() - theirs.max()) <= 1


def test_other_interpolations_are_refused():
    with pytest.raises(ArgumentError, match=r"^interpolation must be 'bilinear' or 'bicubic', got 'nearest'"):
        BatchRandomResizedCrop(8, interpolation=InterpolationMode.NEAREST)
