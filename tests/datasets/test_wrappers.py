"""Concatenated and repeated datasets."""

from pathlib import Path

import mmengine.dataset
import pytest
import torch
from PIL import Image

from motivation.config.build import build
from motivation.config.components import check_components
from motivation.datasets import BadImageError, DeviceImages, ImageDataset, collate_images, labels_of
from motivation.datasets.image_dataset import TensorImages
from motivation.errors import ConfigError
from motivation.registry import DATASETS
from tests.conftest import classifier, digits_config, train

MODEL = dict(type='DualModel', base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'))


def write(root, classes=('cat', 'dog'), grey=0, images=1):
    for name in classes:
        for index in range(images):
            path = Path(root, 'train', name, f'{index}.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (8, 8), grey + index).save(path)


def folder(root, **arguments):
    return dict(type='TimmDataset', root=root, split='train', image_mode='L', **arguments)


@DATASETS.register_module(force=True)
class Numbered(ImageDataset):
    """A dataset of images without files, the second of which has an invalid label."""

    def __init__(self, on_error='raise'):
        images = TensorImages(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 5]))
        super().__init__(images, ['cat', 'dog'], on_error=on_error)


def test_two_folders_are_concatenated():
    write('a', grey=10, images=2)
    write('b', grey=20)
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[folder('a'), folder('b', cache_mib=0)]))
    assert len(dataset) == 6 and dataset.metainfo == {'classes': ['cat', 'dog']}
    items = [dataset[index] for index in range(6)]
    assert [(int(item['inputs'][0, 0, 0]), item['targets']) for item in items] == [
        (10, 0),
        (11, 0),
        (10, 1),
        (11, 1),
        (20, 0),
        (20, 1),
    ]
    assert [item.name for item in items[3:5]] == ["'a/train/dog/1.png'", "'b/train/cat/0.png'"]


def test_images_without_files_are_named_with_their_dataset():
    configs = [dict(type='Numbered', on_error='skip'), dict(type='Numbered', on_error='skip'), dict(type='Numbered')]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=configs))
    batch = collate_images([dataset[index] for index in range(5)])
    assert [name for name, _ in batch.skipped] == ['image 1 of datasets.0', 'image 1 of datasets.1']
    assert dataset[4].name == 'image 0 of datasets.2'
    with pytest.raises(BadImageError, match=r'^image 1 of datasets\.2 has the label 5, but num_classes is 2; fix or'):
        dataset[-1]


def test_differing_classes_are_refused():
    write('a')
    write('b', classes=('cat', 'dog', 'fox'))
    message = (
        r"^datasets have different classes: class 2 is absent in datasets\.1 and 'fox' in datasets\.2, which has 'fox' more; "
        r'give all one list, classes=\[\.\.\.\] or a file'
    )
    with pytest.raises(ConfigError, match=message):
        DATASETS.build(dict(type='ConcatDataset', datasets=[dict(type='Plain'), folder('a'), folder('b')]))


@pytest.mark.parametrize('cache_mib', [0, 64])
def test_one_class_list_numbers_classes_of_all_folders_by_name(cache_mib):
    write('a', classes=('dog', 'fox'), grey=10)
    write('b', classes=('cat', 'fox'), grey=20)
    Path('classes.txt').write_text('fox\ncat\ndog\n')
    parts = [
        folder('a', cache_mib=cache_mib),
        dict(type='RepeatDataset', times=2, dataset=folder('b', cache_mib=cache_mib)),
    ]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts, classes='classes.txt'))
    assert dataset.metainfo == {'classes': ['fox', 'cat', 'dog']}
    expected = [2, 0, 1, 0, 1, 0]
    assert [dataset[index]['targets'] for index in range(6)] == expected == labels_of(dataset).tolist()
    on_device = DeviceImages(dataset, {}, 'cpu')
    on_device.load()
    assert on_device.__getitems__([0, 3, 5])['targets'].tolist() == [2, 0, 0]


def test_class_list_that_lacks_a_class_names_it():
    write('a', classes=('cat', 'dog', 'eel'))
    with pytest.raises(
        ConfigError, match=r"^datasets.0.classes lacks 'dog', 'eel', 2 of the 3 classes of 'a'; add them"
    ):
        build(DATASETS, dict(type='ConcatDataset', datasets=[folder('a')], classes=['cat', 'fox']), '')
    message = r"^datasets have different classes: class 0 is 'cat' in classes and '0' in datasets.0, which lacks 'cat'"
    with pytest.raises(ConfigError, match=message):
        DATASETS.build(
            dict(type='ConcatDataset', datasets=[dict(type='DigitsDataset', split='test')], classes=['cat', 'fox'])
        )


def test_sets_with_one_and_with_several_labels_are_not_joined():
    write('a', classes=('cat',))
    Path('labels.csv').write_text('path,label\na/train/cat/0.png,cat')
    several = dict(type='LabelFileDataset', file='labels.csv', several_labels=True)
    with pytest.raises(
        ConfigError, match=r'^datasets differ: 1 has several labels an image and 0 has one; give 0 several'
    ):
        DATASETS.build(dict(type='ConcatDataset', datasets=[folder('a'), several]))


@DATASETS.register_module(force=True)
class Plain(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {'inputs': torch.zeros(1, 8, 8, dtype=torch.uint8), 'targets': index}


def test_repeated_dataset_has_the_repeated_length():
    dataset = DATASETS.build(dict(type='RepeatDataset', times=3, dataset=dict(type='Plain')))
    assert [dataset[index]['targets'] for index in range(len(dataset))] == [0, 1, 2] * 3
    with pytest.raises(IndexError):
        dataset[9]
    with pytest.raises(ConfigError, match=r'^times must be at least 1, got 0$'):
        DATASETS.build(dict(type='RepeatDataset', times=0, dataset=dict(type='Plain')))


@pytest.mark.parametrize(
    ('datasets', 'message'),
    [
        ([], r'^data\.datasets must be at least one dataset, .*, got none$'),
        (
            [dict(type='Plain'), folder('gone')],
            r"^data\.datasets\.1\.root 'gone' does not exist; correct it, or see the README",
        ),
        ([dict(type='Plain'), 3], r'^data\.datasets\.1 must be a dataset: dict\(type=\.\.\.\), got 3$'),
    ],
)
def test_invalid_inner_dataset_is_reported(datasets, message):
    with pytest.raises(ConfigError, match=message):
        build(DATASETS, dict(type='ConcatDataset', datasets=datasets), 'data')


def check(dataset):
    check_components(dict(model=MODEL, train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        (
            dict(type='ConcatDataset', datasets=[folder('a'), dict(type='TimmDataset', rot='b')]),
            r'^train_dataloader\.dataset\.datasets\.1\.rot|^train_dataloader\.dataset\.datasets\.1\.root is missing',
        ),
        (
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ConcatDataset', datasets=[dict(type='TimDataset', root='b')]),
            ),
            r"^train_dataloader\.dataset\.dataset\.datasets\.0\.type is 'TimDataset', which is not registered; did you mean 'TimmD",
        ),
        (
            dict(type='ConcatDataset', datasets=[folder('a', transforms=[dict(type='Resize', size='x')])]),
            r"^train_dataloader\.dataset\.datasets\.0\.transforms\.0\.size must be .*, got 'x'$",
        ),
        (
            dict(type='ConcatDataset', datasets=folder('a')),
            r'^train_dataloader\.dataset\.datasets must be a list, got ',
        ),
        (
            dict(type='RepeatDataset', times=2.5, dataset=folder('a')),
            r'^train_dataloader\.dataset\.times must be a whole number, got 2\.5$',
        ),
        (
            dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=folder('a')),
            r"^train_dataloader\.dataset\.type is 'ClassBalancedDataset', which takes only .* not TimmDataset; use",
        ),
        (
            dict(type='mmengine.ConcatDataset', datasets=[folder('a')]),
            r"^train_dataloader\.dataset\.type is 'mmengine\.ConcatDataset', which takes only .* not TimmDataset",
        ),
    ],
)
def test_invalid_inner_config_is_reported_with_its_position(dataset, message):
    with pytest.raises(ConfigError, match=message):
        check(dataset)


def test_mmengines_wrapper_of_its_own_datasets_is_left_alone():
    @DATASETS.register_module(force=True)
    class Own(mmengine.dataset.BaseDataset):
        pass

    check(dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=dict(type='Own')))


def test_a_run_trains_on_two_folders(tmp_path):
    digits = [str(digit) for digit in range(10)]
    write('a', digits)
    write('b', digits, images=2)
    config = digits_config(tmp_path / 'run', epochs=1)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_dataloader.dataset = dict(
        type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[folder('a'), folder('b')])
    )
    config.val_dataloader.dataset = folder('b')
    config.train_cfg.type = 'CheckLoop'
    runner = train(config)
    assert len(runner.train_dataloader.dataset) == 3 * (10 + 20)
