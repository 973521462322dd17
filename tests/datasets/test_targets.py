"""The labels of whole datasets."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.data import ImageDataset as TimmImages
from torch.utils.data import ConcatDataset, Subset

from motivation.datasets import DeviceImages, DigitsDataset, ImageDataset, TimmDataset, labels_of
from motivation.datasets.image_dataset import TensorImages
from motivation.datasets.seeded import SeededDataset
from motivation.datasets.targets import shared_files
from motivation.errors import ConfigError
from motivation.registry import DATASETS


@pytest.fixture
def folder():
    for name, images in (('cat', 1), ('dog', 3)):
        for index in range(images):
            path = Path('data/train', name, f'{index}.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (8, 8)).save(path)
    return dict(type='TimmDataset', root='data')


def test_labels_are_those_of_the_samples():
    digits = DigitsDataset('test')
    labels = labels_of(digits)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [digits[index]['targets'] for index in range(len(digits))]


@pytest.mark.parametrize('cache_mib', [0, 64])
def test_labels_of_wrappers_follow_their_samples(folder, cache_mib):
    dataset = DATASETS.build({**folder, 'cache_mib': cache_mib})
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=[folder, folder]))
    repeated = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=folder))
    assert labels_of(dataset).tolist() == [0, 1, 1, 1]
    for twice in (joined, repeated, DeviceImages(joined, {}, 'cpu'), SeededDataset(repeated, (0, 0))):
        assert labels_of(twice).tolist() == [0, 1, 1, 1, 0, 1, 1, 1]
        assert labels_of(Subset(twice, [0, 3, 4])).tolist() == [0, 1, 0]


def test_labels_are_read_without_decoding_images(folder):
    dataset = DATASETS.build({**folder, 'cache_mib': 0})
    for path in Path('data').rglob('*.png'):
        path.write_bytes(b'')
    assert labels_of(dataset).tolist() == [0, 1, 1, 1]


def test_several_labels_an_image_are_rows():
    rows = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    dataset = ImageDataset(TensorImages(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), rows), ['a', 'b', 'c'])
    assert torch.equal(labels_of(dataset), rows)
    assert torch.equal(labels_of(Subset(dataset, [1])), rows[1:])
    for targets in ([*rows], rows.tolist(), rows.numpy(), [*rows.numpy()]):
        dataset.source.targets = targets
        assert torch.equal(labels_of(dataset), rows)


def test_a_label_that_is_absent_is_no_class():
    class Reader:
        samples = property(lambda self: self.__dict__['samples'])

        def __init__(self):
            self.__dict__['samples'] = [('a.png', 2), ('b.png', None)]

        def __len__(self):
            return 2

    assert labels_of(TimmImages('', reader=Reader())).tolist() == [2, -1]


def test_labels_that_are_not_known_are_an_error():
    class Unknown(torch.utils.data.Dataset):
        def __len__(self):
            return 2

    with pytest.raises(ConfigError, match=r'labels of Unknown are not known .*; give it an attribute targets'):
        labels_of(Unknown())


def test_labels_of_torchvision_data_are_its_targets():
    dataset = TimmDataset.__new__(TimmDataset)
    dataset.source = type('Converted', (), {'__len__': lambda self: 2})()
    dataset.source.opened = type('CIFAR10', (), {'__len__': lambda self: 2})()
    dataset.source.opened.targets = [3, 1]
    assert labels_of(dataset).tolist() == [3, 1]


def test_files_of_both_splits_are_found_in_any_wrapping(folder):
    Path('val.csv').write_text('path,label\ndata/train/dog/1.png,dog\n./data/train/cat/../cat/0.png,cat\n')
    listed = dict(type='LabelFileDataset', file='val.csv', cache_mib=0)
    val = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=listed))
    train = ConcatDataset([DATASETS.build(folder), DigitsDataset('test')])
    expected = ['data/train/dog/1.png', 'data/train/cat/0.png']
    assert (
        shared_files(train, val) == shared_files(SeededDataset(train, (0, 0)), DeviceImages(val, {}, 'cpu')) == expected
    )
    assert shared_files(val, DigitsDataset('test')) == shared_files(DigitsDataset('test'), DigitsDataset('test')) == []
