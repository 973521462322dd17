"""The data loader that keeps its dataset on the device: what it reads, which batches it makes, what it refuses."""

import os
import signal
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader

from motivation.config.build import build
from motivation.datasets import DeviceDataLoader, DeviceImages, collate_images, device_images
from motivation.datasets.device_loader import divide
from motivation.datasets.frozen_randomness import TWICE
from motivation.datasets.image_dataset import ImageDataset
from motivation.datasets.places import PlacedSampler
from motivation.datasets.seeded import SeededDataset
from motivation.errors import ConfigError, TrainingError
from motivation.registry import BATCH_TRANSFORMS, DATASETS, TRANSFORMS
from motivation.utils.memory import free_memory, memory_text

CROP, FLIP = dict(type='RandomCrop', size=8, padding=2), dict(type='RandomHorizontalFlip')


@TRANSFORMS.register_module(force=True)
class Dies:
    def __call__(self, image):
        os.kill(os.getpid(), signal.SIGKILL)


class Listed(list):
    """Images and labels, some of which cannot be read; counts how often one is read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def dataset_of(count=23, transforms=(), **options):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 5
    return ImageDataset(Listed(zip(images, labels, strict=True)), list('abcde'), transforms, **options)


def built(transforms):
    return {f'transforms.{place}': BATCH_TRANSFORMS.build(dict(node)) for place, node in enumerate(transforms)}


def loader_of(dataset, transforms=(), batch_size=4, **options):
    kept = DeviceImages(dataset, built(transforms), 'cpu')
    seeded = SeededDataset(kept, (7, 0))
    sampler = PlacedSampler(DefaultSampler(seeded, shuffle=True, seed=3))
    return DeviceDataLoader(seeded, batch_size=batch_size, sampler=sampler, **options)


def same(batches, others):
    pairs = list(zip(batches, others, strict=True))
    return all(torch.equal(batch[name], other[name]) for batch, other in pairs for name in ('inputs', 'targets'))


def test_without_augmentation_its_batches_are_those_of_the_ordinary_loader():
    resize = dict(type='Resize', size=[6, 6])
    ordinary = SeededDataset(dataset_of(transforms=[resize]), (7, 0))
    sampler = DefaultSampler(ordinary, shuffle=True, seed=3)
    batches = list(DataLoader(ordinary, 4, sampler=sampler, collate_fn=collate_images))
    assert same(batches, loader_of(dataset_of(transforms=[resize])))


def test_samples_are_read_once_and_a_few_a_second_time():
    dataset = dataset_of()
    loader = loader_of(dataset)
    for _ in range(3):
        list(loader)
    assert dataset.source.reads == len(dataset) + TWICE


def test_same_seed_and_place_give_the_same_batches_and_other_epochs_others():
    loaders = [loader_of(dataset_of(), [CROP, FLIP]) for _ in range(2)]
    first, second = (list(loader) for loader in loaders)
    assert same(first, second)
    loaders[0].sampler.sampler.set_epoch(1)
    torch.manual_seed(5)
    assert not same(first, loaders[0])


def test_epoch_begun_in_the_middle_has_the_same_batches():
    whole, rest = (loader_of(dataset_of(), [CROP, FLIP]) for _ in range(2))
    rest.sampler.begin = 3 * 4
    torch.manual_seed(9)
    assert same(list(whole)[3:], list(rest))


def test_samples_are_the_same_before_and_after_reading_all():
    kept = DeviceImages(dataset_of(), built([CROP]), 'cpu')
    before = []
    for read in (lambda: kept[5]['inputs'], lambda: kept[-1]['inputs'], lambda: kept.__getitems__([3, 1])['inputs']):
        torch.manual_seed(0)
        before.append(read())
    kept.load()
    torch.manual_seed(0)
    assert torch.equal(kept[5]['inputs'], before[0]) and kept[5]['targets'] == 0
    torch.manual_seed(0)
    assert torch.equal(kept[-1]['inputs'], before[1])
    torch.manual_seed(0)
    batch = kept.__getitems__([3, 1])
    assert torch.equal(batch['inputs'], before[2]) and batch['targets'].tolist() == batch.labels.tolist() == [3, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_batches_are_the_same_on_a_gpu_and_are_made_without_waiting_for_it():
    exact = [CROP, FLIP, dict(type='RandomErasing')]
    others = [
        dict(type='RandomResizedCrop', size=8),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    ]
    batches = []
    for device in ('cpu', 'cuda'):
        for transforms in (exact, others):
            kept = DeviceImages(dataset_of(), built(transforms), device)
            kept.load()
            torch.manual_seed(0)
            torch.cuda.set_sync_debug_mode('error')
            try:
                batches.append(kept.__getitems__([*range(23)]))
            finally:
                torch.cuda.set_sync_debug_mode('default')
    assert batches[2]['inputs'].is_cuda and batches[2].labels.is_cpu
    assert torch.equal(batches[0]['inputs'], batches[2]['inputs'].cpu())
    assert batches[1]['inputs'].shape == batches[3]['inputs'].shape


def test_samples_of_a_batch_are_cropped_as_single_samples_are():
    """The distribution: each of the 25 crops of one image, equally often (chi-square, 24 degrees, p = 0.001)."""
    kept = loader_of(dataset_of(1), [CROP]).dataset
    kept.load()
    torch.manual_seed(0)
    crops = [crop.numpy().tobytes() for crop in kept.__getitems__([0] * 5000)['inputs']]
    own = TRANSFORMS.build(dict(CROP))
    assert set(crops) == {own(dataset_of(1)[0]['inputs']).numpy().tobytes() for _ in range(600)}
    assert sum((crops.count(crop) - 200) ** 2 / 200 for crop in set(crops)) < 51.2


@pytest.mark.parametrize('workers', [0, 2])
def test_processes_share_the_samples_as_with_the_ordinary_loader(workers):
    """Every sample once, and each process the same ones in the same order."""
    seen = []
    for rank in range(2):
        with mock.patch('mmengine.dataset.sampler.get_dist_info', return_value=(rank, 2)):
            data = SeededDataset(dataset_of(24), (7, rank))
            ordinary = DataLoader(data, 4, sampler=DefaultSampler(data, seed=3), collate_fn=collate_images)
            loader = loader_of(dataset_of(24), num_workers=workers)
            assert same(list(ordinary), list(loader))
            seen += [image.numpy().tobytes() for batch in loader for image in batch['inputs']]
    assert len(set(seen)) == len(seen) == 24


def test_batch_sampler_and_incomplete_batches_are_those_of_the_other_loader():
    kept = DeviceImages(dataset_of(), {}, 'cpu')

    class Mine(BatchSampler):
        pass

    for made, lengths in (
        (DataLoader(kept, batch_sampler=Mine(range(23), 5, drop_last=True)), [5] * 4),
        (DataLoader(kept, batch_size=5, sampler=range(23), drop_last=True), [5] * 4),
        (DataLoader(kept, batch_size=5, sampler=range(23)), [5] * 4 + [3]),
    ):
        loader = DeviceDataLoader.of(made, print)
        assert [len(batch['inputs']) for batch in loader] == lengths
        assert type(loader.batch_sampler) is type(made.batch_sampler)


def test_skipped_samples_are_left_out_and_named():
    dataset = dataset_of(on_error='skip')
    dataset.source[6] = (dataset.source[6][0], 99)
    loader = loader_of(dataset, [FLIP])
    batches = list(loader)
    assert sum(len(batch['inputs']) for batch in batches) == 22
    assert [skipped for batch in batches for skipped in batch.skipped] == [
        ('image 6', 'has the label 99, but num_classes is 5')
    ]
    assert loader.dataset[6] == {'skipped': ('image 6', 'has the label 99, but num_classes is 5')}
    with pytest.raises(ConfigError, match=r"on_error is 'skip', which leaves nothing of a batch of 2"):
        loader.dataset.__getitems__([6, 6])


def test_set_in_which_nothing_can_be_used_raises():
    dataset = dataset_of(3, on_error='skip')
    dataset.metainfo['classes'] = []
    with pytest.raises(ConfigError, match=r'which leaves nothing of a batch of 3: image 0 has the label'):
        list(loader_of(dataset))


def test_set_that_does_not_fit_is_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(device_images, 'free_memory', lambda device: 5000)
    message = (
        r'^23 images of \(3, 8, 8\) take 0 MiB, and cpu has 0 MiB free, of which DeviceDataLoader uses at most 80%; write '
        "type='DataLoader', which reads samples batch by batch, or make them smaller with a Resize$"
    )
    with pytest.raises(ConfigError, match=message):
        list(loader_of(dataset_of()))
    with pytest.raises(ConfigError, match=message):
        DeviceImages(dataset_of(), {}, 'cpu')[0]
    monkeypatch.setattr(device_images, 'free_memory', lambda device: 23 * (192 + 8) / 0.8 + 1)
    assert len(list(loader_of(dataset_of()))) == 6


def test_images_of_different_sizes_are_refused(monkeypatch):
    dataset = dataset_of()
    dataset.source[20] = (torch.zeros(3, 8, 9, dtype=torch.uint8), 0)
    with pytest.raises(
        ConfigError, match=r'different sizes, \(3, 8, 8\) \(image 22\) and \(3, 8, 9\) \(image 20\); give'
    ):
        list(loader_of(dataset))
    monkeypatch.setattr(device_images, 'CHUNK', 20)  # so that they are read apart
    message = r"^samples have 'inputs' of different shapes, \(3, 8, 8\) and \(3, 8, 9\), and DeviceDataLoader keeps them in one"
    with pytest.raises(ConfigError, match=message):
        loader = loader_of(dataset)
        dataset.source[21] = dataset.source[22] = dataset.source[20]
        list(loader)


@pytest.mark.parametrize('transform', ['RandomRotation', 'TimmTransform'])
def test_random_transform_that_would_be_frozen_is_refused(transform):
    arguments = dict(degrees=10) if transform == 'RandomRotation' else dict(input_size=8, is_training=True)
    dataset = dataset_of(transforms=[dict(type=transform, **arguments)])
    with pytest.raises(
        ConfigError, match=rf'^transforms \({transform}\) draw random numbers, and DeviceDataLoader reads each'
    ):
        DeviceImages(dataset, {}, 'cpu')[0]
    with pytest.raises(
        ConfigError, match=rf'^transforms \({transform}\) draw random numbers, and DeviceDataLoader reads each'
    ):
        list(loader_of(dataset))


def test_reading_all_leaves_the_random_state_alone():
    kept = DeviceImages(dataset_of(), {}, 'cpu')
    torch.manual_seed(0)
    kept.load()
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), drawn)


def test_slow_reading_is_announced(monkeypatch):
    monkeypatch.setattr(device_images, 'CHUNK', 10)
    monkeypatch.setattr(device_images, 'INTERVAL', 0.0)
    messages = []
    DeviceImages(dataset_of(), {}, 'cpu').load(messages.append)
    assert messages == [f'{done} of 23 samples read onto cpu' for done in (10, 20, 23)] + [
        '23 samples are on cpu, in 0 MiB'
    ]


def test_process_that_dies_while_it_reads_is_one_sentence():
    dataset = dataset_of(transforms=[dict(type='Dies')])
    with pytest.raises(
        TrainingError, match=r'^a process that reads the data died \(DataLoader worker .*lower num_workers of'
    ):
        loader_of(dataset, num_workers=1).load()


def test_transforms_up_to_the_first_random_one_are_applied_once():
    resize, scale = dict(type='Resize', size=[8, 8]), dict(type='ToDtype', dtype='float32', scale=True)
    config = dict(type='TimmDataset', root='x', transforms=[resize, CROP, scale])
    once, batched = divide(config)
    assert once == dict(type='TimmDataset', root='x', transforms=[resize], cache_mib=0)
    assert batched == [('transforms.1', CROP), ('transforms.2', scale)]
    assert config['transforms'] == [resize, CROP, scale]


def test_transforms_of_datasets_within_others_are_divided_if_they_agree():
    digits = [dict(type='DigitsDataset', split=split, transforms=[CROP]) for split in ('train', 'test')]
    once, batched = divide(dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=digits)))
    assert batched == [('dataset.datasets.0.transforms.0', CROP)]
    assert [inner['transforms'] for inner in once['dataset']['datasets']] == [[], []]
    digits[1]['transforms'] = [FLIP]
    with pytest.raises(
        ConfigError, match=r'^datasets have different random transforms, .*; DeviceDataLoader applies the'
    ):
        divide(dict(type='ConcatDataset', datasets=digits))


def test_transform_without_a_version_for_batches_is_refused():
    config = dict(type='DigitsDataset', split='train', transforms=[CROP, dict(type='RandomRotation', degrees=9)])
    with pytest.raises(
        ConfigError,
        match=r'^transforms\.1 is RandomRotation, which has no version for batches; DeviceDataLoader has those of CenterCrop, '
        r'ColorJitter, .*RandomVerticalFlip.*: use these, register one in BATCH_TRANSFORMS, or write ',
    ):
        divide(config)


def test_transform_that_fails_on_a_batch_is_named():
    kept = DeviceImages(dataset_of(), built([FLIP, dict(type='RandomCrop', size=20)]), 'cpu')
    with pytest.raises(
        ConfigError, match=r'^transforms\.1\.size is \(20, 20\), larger than the padded images, \(8, 8\)'
    ):
        kept[0]
    kept = DeviceImages(
        dataset_of(), built([dict(type='RandomCrop', size=8, padding=9, padding_mode='reflect')]), 'cpu'
    )
    with pytest.raises(
        ConfigError, match=r'^transforms\.0 \(BatchRandomCrop\) fails on a batch of \(1, 3, 8, 8\): RuntimeError: '
    ):
        kept[0]


def test_transform_of_a_plugin_gets_batches():
    @TRANSFORMS.register_module(force=True)
    class Solarised:
        def __call__(self, image):
            raise AssertionError

    @BATCH_TRANSFORMS.register_module('Solarised', force=True)
    class BatchSolarised:
        def __call__(self, images):
            return 255 - images

    DATASETS.register_module(name='Small', module=dataset_of, force=True)
    config = dict(type='Small', transforms=[dict(type='Solarised')])
    kept = DeviceDataLoader.make_dataset(config, lambda registry, node, path: build(registry, node, path))
    plain = [dataset_of()[index]['inputs'] for index in (4, 9)]
    assert torch.equal(kept.__getitems__([4, 9])['inputs'], 255 - torch.stack(plain))


def test_images_of_a_folder_are_kept_by_the_device_alone(tmp_path):
    for index in range(3):
        folder = tmp_path / 'train' / 'ab'[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 50 * index, np.uint8)).save(folder / f'{index}.png')
    config = dict(type='TimmDataset', root=str(tmp_path), split='train')
    kept = DeviceDataLoader.make_dataset(config, lambda registry, node, path: build(registry, node, path))
    assert not hasattr(kept.dataset.source, 'images')  # that of TensorImages
    kept.load()
    batch = kept.__getitems__([0, 1, 2])
    assert batch['inputs'][:, 0, 0, 0].tolist() == [0, 100, 50] and batch['targets'].tolist() == [0, 0, 1]


def test_free_memory_is_known_on_linux():
    free = free_memory(torch.device('cpu'))
    assert free is None or 0 < free < 2**50
    assert free_memory(torch.device('meta')) is None
    assert (memory_text(150 * 2**20), memory_text(3 * 2**29)) == ('150 MiB', '1.5 GiB')
