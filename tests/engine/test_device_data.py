"""Runs whose data are kept on the device, compared with runs of the ordinary data loader."""

import math

import pytest
import torch

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.config.same_run import config_differences, describe_run_config
from motivation.datasets import DeviceDataLoader, DeviceImages
from motivation.engine.recalibration import recalibrated
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import BadDataHook, MotivationHook
from motivation.hooks.progress_hook import describe_run
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import DIGITS, ROOT, digits_config, snapshot, train
from tests.datasets.test_bad_data import folder_config, write_images
from tests.engine.test_resuming import Stop

KEPT = {f'{stage}_dataloader.type': 'DeviceDataLoader' for stage in ('train', 'val')}
FLIP = dict(type='RandomHorizontalFlip')


def equal(runner, other):
    tensors = snapshot(other.model)
    return all(torch.equal(tensor, tensors[name]) for name, tensor in snapshot(runner.model).items())


def test_without_augmentation_a_run_is_that_of_the_ordinary_loader(tmp_path):
    """Bit by bit, with re-estimated statistics, a shortened epoch, and what is exported."""
    options = {'train_dataloader.dataset.transforms': [], 'model.recalibrate': 64}
    kept, ordinary = (
        train(digits_config(tmp_path / name, **options, **types)) for name, types in (('kept', KEPT), ('ordinary', {}))
    )
    assert isinstance(kept.train_dataloader, DeviceDataLoader) and isinstance(kept.val_dataloader, DeviceDataLoader)
    assert equal(kept, ordinary)
    traces = [runner.find_hook(MotivationHook).trace.losses.tolist() for runner in (kept, ordinary)]
    assert traces[0] == traces[1]
    described = [load_exported(tmp_path / name / 'base.pth').metainfo for name in ('kept', 'ordinary')]
    assert described[0] == described[1]
    assert any(
        'DigitsDataset on cpu: 384 of 1,437 training and 360 validation images' in line for line in describe_run(kept)
    )


def test_run_stopped_within_an_epoch_resumes_bit_identically(tmp_path):
    options = {**KEPT, 'train_dataloader.dataset.transforms': [dict(type='RandomCrop', size=8, padding=1), FLIP]}
    options['default_hooks.checkpoint.every_iters'] = 2
    whole = train(digits_config(tmp_path / 'whole', **options))
    stopped = DualModelRunner.from_cfg(digits_config(tmp_path / 'run', **options))
    stopped.register_hook(Stop(9))
    with pytest.raises(InterruptedError):
        stopped.train()
    assert find_checkpoints(tmp_path / 'run')[-1].name == 'epoch_1_iter_8.pth'
    config = digits_config(tmp_path / 'run', **options)
    config.resume = True
    resumed = train(config)
    assert resumed.iter == 12 and equal(resumed, whole)


def test_run_resumes_if_the_ordinary_loader_is_named_and_not_with_the_other(tmp_path):
    unnamed, named, kept = (
        describe_run_config(digits_config(tmp_path, **types))
        for types in ({}, {'train_dataloader.type': 'DataLoader'}, {'train_dataloader.type': 'DeviceDataLoader'})
    )
    assert not list(config_differences(unnamed, named))
    assert list(config_differences(unnamed, kept)) == [('train_dataloader.type', 'left out', 'DeviceDataLoader')]
    assert list(config_differences(kept, named)) == [('train_dataloader.type', 'DeviceDataLoader', 'DataLoader')]


def test_statistics_are_re_estimated_on_the_same_images_in_an_evaluation(tmp_path):
    options = {**KEPT, 'model.recalibrate': 100}
    runners = [DualModelRunner.from_cfg(digits_config(tmp_path, **options)) for _ in range(2)]
    runners[0]._train_loop = runners[0].build_train_loop(runners[0]._train_loop)
    runners[0].train_dataloader.dataset.load()
    means = []
    for runner in runners:
        with recalibrated(runner):
            means.append(runner.model.base.backbone.bn1.running_mean.clone())
    torch.testing.assert_close(*means)
    assert means[0].any()


def test_unusable_images_are_left_out_and_counted(tmp_path):
    damaged = write_images('images/train', good=60, bad=5)
    config = folder_config(tmp_path / 'run', on_error='skip')
    config.val_dataloader.dataset = config.train_dataloader.dataset
    for stage in ('train', 'val'):
        config[f'{stage}_dataloader'].type = 'DeviceDataLoader'
    runner = train(config)
    skipped = runner.find_hook(BadDataHook).skipped
    assert skipped['train'] == skipped['val'] == {repr(str(path)): 2 for path in damaged}  # once an epoch
    assert runner.iter == 2 * math.ceil(65 / config.train_dataloader.batch_size)


def test_check_reads_and_trains_on_kept_data(tmp_path):
    train(digits_config(tmp_path, **KEPT, **{'train_cfg.type': 'CheckLoop'}))


def test_labels_that_are_no_class_are_found_without_reading_the_device(tmp_path):
    runner = DualModelRunner.from_cfg(digits_config(tmp_path, **KEPT))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    assert isinstance(runner.train_dataloader.dataset.dataset, DeviceImages)
    batch = next(iter(runner.train_dataloader))
    assert batch.labels.equal(batch['targets'])
    batch['targets'] = None  # not looked at
    hook = runner.find_hook(BadDataHook)
    hook.before_train_iter(runner, 0, batch)
    batch.labels[3] = 10
    with pytest.raises(ConfigError, match=r'^image 3 of batch 0 has the label 10, but num_classes is 10'):
        hook.before_train_iter(runner, 0, batch)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'train_dataloader.pin_memory': True},
            r'^train_dataloader\.pin_memory is not an argument of DeviceDataLoader; ',
        ),
        ({'train_dataloader.num_workers': -1}, r'^train_dataloader\.num_workers must be at least 0, got -1'),
        (
            {'val_dataloader.batch_siz': 1},
            r'^val_dataloader\.batch_siz is not an argument of .*; did you mean .batch_size',
        ),
        (
            {'train_dataloader.type': 'DeviceLoader'},
            r"^train_dataloader\.type is 'DeviceLoader', which is not registered; did you mean 'DeviceDataLoader'",
        ),
    ],
)
def test_mistakes_in_the_config_of_the_loader_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        check_config(load_config(DIGITS, {**KEPT, **options}))


def test_transform_that_does_not_go_with_the_loader_is_refused_with_its_field(tmp_path):
    rotation = dict(type='RandomRotation', degrees=9)
    for transforms, message in (
        (
            [FLIP, rotation],
            r'^train_dataloader\.dataset\.transforms\.1 is RandomRotation, which has no version for batches',
        ),
        ([FLIP, {**FLIP, 'p': 2}], r'^train_dataloader\.dataset\.transforms\.1\.p must be at most 1, got 2'),
        ([rotation], r'^train_dataloader\.dataset\.transforms \(RandomRotation\) draw random numbers'),
        (
            [FLIP, dict(type='RandomErasing', value='random')],
            r"^train_dataloader\.dataset\.transforms\.1\.value is 'random', and the images are torch\.uint8",
        ),
    ):
        runner = DualModelRunner.from_cfg(
            digits_config(tmp_path, **KEPT, **{'train_dataloader.dataset.transforms': transforms})
        )
        with pytest.raises(ConfigError, match=message):
            runner.build_train_loop(runner._train_loop)


def test_option_of_the_loader_keeps_its_other_fields():
    config = load_config(str(ROOT / 'configs/cifar10/resnet8_resnet20_never.py'))
    assert config.train_dataloader.type == config.val_dataloader.type == 'DeviceDataLoader'
    ordinary = load_config(config.filename, {'train_dataloader.type': 'DataLoader'})
    assert {**ordinary.train_dataloader, 'type': 'DeviceDataLoader'} == config.train_dataloader
    kinds = [transform['type'] for transform in config.train_dataloader.dataset.transforms]
    assert kinds == ['RandomCrop', 'RandomHorizontalFlip']
