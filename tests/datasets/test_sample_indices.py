"""A batch knows which samples it holds."""

import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from motivation.datasets import collate_images
from motivation.datasets.places import PlacedSampler
from motivation.datasets.seeded import SeededDataset
from tests.datasets.test_device_loader import dataset_of, loader_of


def ordinary(dataset, num_workers):
    seeded = SeededDataset(dataset, (7, 0))
    sampler = PlacedSampler(DefaultSampler(seeded, shuffle=True, seed=3))
    return DataLoader(seeded, 4, sampler=sampler, collate_fn=collate_images, num_workers=num_workers)


LOADERS = {
    'ordinary': lambda dataset: ordinary(dataset, 0),
    'workers': lambda dataset: ordinary(dataset, 2),
    'device': loader_of,
}


@pytest.mark.parametrize('kind', LOADERS)
def test_indices_name_the_samples_of_a_batch_without_the_skipped(kind):
    """A label that is no class is skipped."""
    dataset = dataset_of(on_error='skip')
    plain = [dataset[index]['inputs'] for index in range(23)]
    dataset.source[5] = dataset.source[5][0], 99
    seen = []
    for batch in LOADERS[kind](dataset):
        assert len(batch.indices) == len(batch['inputs'])
        for index, image in zip(batch.indices, batch['inputs'], strict=True):
            assert torch.equal(image, plain[index])
        seen += batch.indices
    assert set(seen) == set(range(23)) - {5}
