import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motivation.datasets import TimmDataset
from motivation.datasets.image_dataset import TensorImages
from motivation.errors import ConfigError


def write_folder(root, sizes=((6, 5), (6, 5)), classes=('cat', 'dog'), mode='RGB'):
    """Write two images for each class, each filled with a number that encodes its class and position."""
    for label, name in enumerate(classes):
        for place, size in enumerate(sizes):
            folder = Path(root) / 'train' / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.new(mode, size, 10 * label + place if mode == 'L' else (10 * label + place,) * 3).save(
                folder / f'{place}.png'
            )


def test_folder_is_decoded_once_with_its_classes():
    write_folder('data')
    dataset = TimmDataset('data', split='train')
    assert isinstance(dataset.source, TensorImages)
    assert dataset.source.images.shape == (4, 3, 5, 6) and dataset.source.images.dtype == torch.uint8
    assert dataset.metainfo == {'classes': ['cat', 'dog']}
    assert [(int(dataset[i]['inputs'][0, 0, 0]), dataset[i]['targets']) for i in range(4)] == [
        (0, 0),
        (1, 0),
        (10, 1),
        (11, 1),
    ]
    for path in Path('data').rglob('*.png'):
        path.unlink()
    assert dataset[3]['targets'] == 1  # without reading the files again


@pytest.mark.parametrize('case', ['sizes differ', 'does not fit'])
def test_images_that_cannot_be_cached_are_decoded_on_access(case):
    write_folder('data', sizes=((6, 5), (7, 5)) if case == 'sizes differ' else ((6, 5), (6, 5)))
    dataset = TimmDataset('data', split='train', cache_mib=1024 if case == 'sizes differ' else 0)
    assert not isinstance(dataset.source, TensorImages)
    assert dataset[3]['inputs'].shape == (3, 5, 7 if case == 'sizes differ' else 6)
    assert dataset[3]['inputs'].dtype == torch.uint8 and dataset[3]['targets'] == 1


def test_cached_and_uncached_images_are_equal():
    write_folder('data')
    cached, uncached = TimmDataset('data', split='train'), TimmDataset('data', split='train', cache_mib=0)
    for index in range(4):
        assert torch.equal(cached[index]['inputs'], uncached[index]['inputs'])


def test_image_mode_converts():
    write_folder('data', mode='L')
    assert TimmDataset('data', split='train')[0]['inputs'].shape == (3, 5, 6)
    assert TimmDataset('data', split='train', image_mode='L')[0]['inputs'].shape == (1, 5, 6)


def test_torchvision_dataset_opens_by_name():
    raw = Path('data/MNIST/raw')
    raw.mkdir(parents=True)
    for part, count in (('train', 3), ('t10k', 2)):
        images = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8).tobytes()
        (raw / f'{part}-images-idx3-ubyte').write_bytes(struct.pack('>IIII', 2051, count, 28, 28) + images)
        (raw / f'{part}-labels-idx1-ubyte').write_bytes(struct.pack('>II', 2049, count) + bytes(range(count)))
    dataset = TimmDataset('data', name='torch/mnist', split='train', image_mode='L')
    assert len(dataset) == 3 and len(dataset.metainfo['classes']) == 10
    assert dataset[2]['inputs'].flatten()[:3].tolist() == [(2 * 784 + i) % 256 for i in range(3)]
    assert dataset[2]['targets'] == 2
    assert len(TimmDataset('data', name='torch/mnist', split='test', image_mode='L')) == 2


def test_tar_of_images_opens():
    write_folder('data')
    with tarfile.open('images.tar', 'w') as tar:
        tar.add('data/train', arcname='.')
    dataset = TimmDataset('images.tar')
    assert len(dataset) == 4 and dataset.metainfo['classes'] == ['cat', 'dog']


def test_transforms_apply_in_order_to_tensors_and_pil_images():
    write_folder('data')
    transforms = [dict(type='Pad', padding=2), dict(type='CenterCrop', size=4)]
    for cache_mib in (0, 1024):
        dataset = TimmDataset('data', split='train', transforms=transforms, cache_mib=cache_mib)
        assert dataset[0]['inputs'].shape == (3, 4, 4)


def test_timm_augmentation_returns_unnormalised_bytes():
    write_folder('data', sizes=((40, 40),))
    factory = dict(type='TimmTransform', input_size=32, is_training=True, auto_augment='rand-m5')
    for cache_mib in (0, 1024):
        image = TimmDataset('data', split='train', transforms=[factory], cache_mib=cache_mib)[1]['inputs']
        assert image.shape == (3, 32, 32) and image.dtype == torch.uint8


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(root='nowhere'), r"^root 'nowhere' does not exist; correct it, or see the README"),
        (dict(root='data', split='val'), r"^split is 'val', but 'data' has no such subfolder"),
        (dict(root='empty', split='train'), r"root 'empty' cannot be opened as 'folder': Found 0 images"),
        (
            dict(root='data', name='torch/cifar10'),
            r"root 'data' cannot be opened as 'torch/cifar10': Dataset not found",
        ),
        (dict(root='data', name='torch/cifar11'), r"root 'data' cannot be opened as 'torch/cifar11': .*cifar11"),
    ],
)
def test_missing_data_are_reported(arguments, message):
    write_folder('data')
    Path('empty/train').mkdir(parents=True)
    with pytest.raises(ConfigError, match=message):
        TimmDataset(**arguments)
