import pytest
import torch
from torchvision.transforms.v2.functional import resize

from motivation.datasets.loading import Batch
from motivation.errors import ArgumentError
from motivation.utils.training_parts import TrainingParts, resized


def test_part_of_a_batch_follows_from_its_number_alone():
    parts = TrainingParts([dict(share=0.3, image_size=8), dict(share=0.2, image_size=[8, 12]), dict(share=0.5)])
    assert parts.ends(10) == [3, 5, 10] and parts.ends(11) == [3, 6, 11]
    sizes = [parts.part_of(batch, 10).size for batch in range(11)]
    assert sizes == [(8, 8)] * 3 + [(8, 12)] * 2 + [None] * 6
    assert str(parts) == '30% at 8 x 8, then 20% at 8 x 12, then 50% at full size'
    assert parts.resizes and not TrainingParts().resizes
    thirds = TrainingParts([dict(share=0.333, image_size=8)] * 3)
    assert thirds.ends(3000) == [1000, 2000, 3000]


def test_images_are_resized_and_all_else_stays():
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    batch = Batch({'inputs': images, 'targets': torch.tensor([1, 2])}, [('a.png', 'broken')], indices=[3, 4])
    small = resized(batch, (8, 12))
    assert (
        torch.equal(small['inputs'], resize(images, [8, 12], antialias=True)) and small['inputs'].dtype == torch.uint8
    )
    assert (small.skipped, small.indices) == (batch.skipped, batch.indices) and small['targets'] is batch['targets']
    assert batch['inputs'] is images
    assert resized(batch, None) is batch and resized(batch, (16, 16)) is batch


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ([], r'^parts must be a list that is not empty, got \[\]$'),
        ([3], r'^parts\.0 must be a dict, got 3; write dict'),
        ([dict(image_size=8)], r'^parts\.0\.share is missing; '),
        ([dict(share=0.0)], r'^parts\.0\.share must be above 0, got 0\.0$'),
        ([dict(share=0.5), dict(share=0.5, size=8)], r'^parts\.1\.size is not an argument'),
        ([dict(share=1.0, image_size=0)], r'^parts\.0\.image_size must be at least 1'),
        ([dict(share=1.0, image_size=[8])], r'^parts\.0\.image_size must be a number or \[height, width\], got \[8\]$'),
        ([dict(share=0.5, image_size=8)], r'^parts have shares that add up to 0\.5; make it 1$'),
    ],
)
def test_invalid_parts_raise(parts, message):
    with pytest.raises(ArgumentError, match=message):
        TrainingParts(parts)


def test_unknown_field_of_a_part_is_named_without_an_internal_class():
    with pytest.raises(ArgumentError, match=r'^parts\.0\.size is not an argument of parts\.0; .*image_size'):
        TrainingParts([dict(share=0.5, size=6), dict(share=0.5)])
