"""The length of a sampler, not its iterator, determines the batches of an epoch."""

import itertools

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from torch.utils.data import BatchSampler

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.registry import DATA_SAMPLERS
from tests.conftest import DIGITS, tiny_config, train


@DATA_SAMPLERS.register_module(force=True)
class OnAndOn(DefaultSampler):
    """Yields more samples than its length."""

    def __iter__(self):
        return itertools.chain(super().__iter__(), itertools.repeat(0))


@DATA_SAMPLERS.register_module(force=True)
class BatchesOnAndOn(BatchSampler):
    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=False)

    def __iter__(self):
        return itertools.chain(super().__iter__(), itertools.repeat([0, 1]))


@DATA_SAMPLERS.register_module(force=True)
class TooShort(DefaultSampler):
    def __iter__(self):
        return itertools.islice(super().__iter__(), 34)


@DATA_SAMPLERS.register_module(force=True)
class InfiniteOfMine(InfiniteSampler):
    pass


def refused(message, **options):
    with pytest.raises(ConfigError, match=message):
        check_config(load_config(DIGITS, options))


@pytest.mark.parametrize('name', ['InfiniteSampler', 'InfiniteOfMine'])
@pytest.mark.parametrize(('loader', 'shuffle'), [('train', True), ('val', False), ('test', False)])
def test_infinite_sampler_raises(loader, shuffle, name):
    says = (
        rf"^{loader}_dataloader\.sampler\.type is '{name}', which never ends, .*'DefaultSampler', shuffle={shuffle}\)"
    )
    refused(says, **{f'{loader}_dataloader.sampler.type': name})


def test_error_for_an_unknown_sampler_recommends_no_infinite_one():
    with pytest.raises(ConfigError, match=r"sampler\.type is 'InfinitSampler', which is not registered; ") as caught:
        check_config(load_config(DIGITS, {'train_dataloader.sampler.type': 'InfinitSampler'}))
    assert 'InfiniteSampler' not in str(caught.value) and 'DefaultSampler' in str(caught.value)


def test_error_for_an_unknown_loop_recommends_a_supported_one():
    with pytest.raises(ConfigError, match=r"^val_cfg\.type is 'X', which is not registered; ") as caught:
        check_config(load_config(DIGITS, {'val_cfg.type': 'X'}))
    assert 'DualValLoop' in str(caught.value) and ' ValLoop' not in str(caught.value)


def test_epochs_end_at_the_length_of_a_sampler(tmp_path):
    """In training, in validation and after a resume within an epoch."""
    sampler = dict(type='OnAndOn')
    options = {'train_dataloader.num_batch_per_epoch': 3, 'train_dataloader.sampler': sampler}
    runner = train(tiny_config(tmp_path / 'run', **options, **{'val_dataloader.sampler': sampler}))
    assert (runner.iter, runner.epoch) == (6, 2)
    assert len(runner.find_hook(MotivationHook).trace.losses) == 6
    runner.train_loop._epoch, runner.train_loop._iter = 0, 1
    assert [batch['inputs'].shape[0] for batch in runner.train_loop._batches.after(1, epoch=1)] == [16, 16]


def test_epochs_end_at_the_length_of_a_batch_sampler(tmp_path):
    options = {'train_dataloader.num_batch_per_epoch': 3, 'train_dataloader.batch_sampler': dict(type='BatchesOnAndOn')}
    runner = train(tiny_config(tmp_path / 'run', epochs=1, **options))
    assert (runner.iter, runner.epoch) == (3, 1)


def test_sampler_that_ends_too_early_raises(tmp_path):
    options = {'train_dataloader.num_batch_per_epoch': 4, 'train_dataloader.sampler': dict(type='TooShort')}
    with pytest.raises(
        ConfigError, match=r'^train_dataloader\.sampler ends after 3 batches of epoch 1, which has 4 by'
    ):
        train(tiny_config(tmp_path / 'run', epochs=1, **options))


class Watch(Hook):
    """Keeps the images of every training and validation batch."""

    def __init__(self):
        self.trained, self.validated = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.trained += data_batch['inputs'].clone()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.validated += data_batch['inputs'].clone()


@pytest.mark.parametrize('kind', ['DataLoader', 'DeviceDataLoader'])
def test_shortened_epochs_draw_from_the_whole_set(tmp_path, kind):
    """In training other images in each epoch, in validation always the same, spread over the set."""
    options = {'train_dataloader.num_batch_per_epoch': 2, 'train_dataloader.dataset.transforms': []}
    options |= {f'{stage}_dataloader.type': kind for stage in ('train', 'val')}
    runner, watch = DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', epochs=3, **options)), Watch()
    runner.register_hook(watch)
    runner.train()
    images = [runner.train_dataloader.dataset.dataset[index]['inputs'] for index in range(1437)]
    places = [next(place for place, image in enumerate(images) if torch.equal(image, seen)) for seen in watch.trained]
    assert len(places) == 3 * 32 and len({*places}) > 80 and max(places) > 1200
    expected = [runner.val_dataloader.dataset[number * 360 // 32]['inputs'] for number in range(32)]
    assert torch.equal(torch.stack(watch.validated), torch.stack(expected * 3))
