"""Batches of a single image are found before training."""

import pytest
import torch
from mmengine.dataset import DefaultSampler, sampler
from torch.utils.data import DataLoader

from motivation.cli import prepare_check
from motivation.config.read import load_config
from motivation.datasets import DigitsDataset
from motivation.engine.checks.batch_checks import has_single_samples
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.models import TimmClassifier
from motivation.registry import DATASETS, MODELS
from tests.conftest import DIGITS, classifier, digits_config, snapshot, train


@MODELS.register_module(force=True)
class NormsStayInTraining(TimmClassifier):
    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train()
        return self


def on_maps_of_one_pixel(type='TimmClassifier', **options):
    """The digits, 1,437 and 360 images, with a network that reduces 8 pixels to 1."""
    network = dict(classifier('test_resnet', in_chans=1, mean=[0.3], std=[0.4]), type=type)
    model = dict(_delete_=True, type='DualModel', base=network, motivated=network, weight_map=dict(type='DepthMap'))
    return {'model': model, **options}


def build(tmp_path, **options):
    config = load_config(DIGITS, options)
    config.work_dir = str(tmp_path)
    runner = DualModelRunner.from_cfg(config)
    before, state = snapshot(runner.model), torch.get_rng_state()
    runner.train_loop, runner.val_loop  # noqa: B018, builds and checks them
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(runner.model).items())
    assert runner.model.base.training
    return runner


def test_last_batch_of_one_image_raises_with_a_fix_that_works(tmp_path):
    options = on_maps_of_one_pixel(**{'train_dataloader.batch_size': 359})
    says = (
        r'^train_dataloader\.batch_size is 359, which leaves one of 1,437 images for the last batch, and model\.base cannot '
        r'be trained on a single image \(ValueError: Expected more than 1 value per channel.*\); give '
        r'train_dataloader\.drop_last=True or another batch_size, such as 360$'
    )
    with pytest.raises(ConfigError, match=says):
        build(tmp_path / 'a', **options)
    with pytest.raises(ConfigError, match=says):
        DualModelRunner.from_cfg(prepare_check(DIGITS, options)).train()
    build(tmp_path / 'b', **options, **{'train_dataloader.drop_last': True})
    build(tmp_path / 'c', **on_maps_of_one_pixel(**{'train_dataloader.batch_size': 360}))


def test_batch_size_one_raises(tmp_path):
    says = r'^train_dataloader\.batch_size is 1, a single image, and model.*; give another batch_size, such as 3$'
    with pytest.raises(ConfigError, match=says):
        build(tmp_path, **on_maps_of_one_pixel(**{'train_dataloader.batch_size': 1}))


def test_network_that_trains_on_one_image_is_accepted(tmp_path):
    build(tmp_path, **{'train_dataloader.batch_size': 359})  # its last maps are of 2 x 2 pixels


def test_recalibration_on_one_image_raises(tmp_path):
    with pytest.raises(
        ConfigError, match=r'^model\.recalibrate is 1, and a single image gives model\.base no statistics'
    ):
        options = on_maps_of_one_pixel()
        options['model']['recalibrate'] = 1
        build(tmp_path, **options)


def test_norms_in_training_mode_raise_in_validation_only_on_single_images(tmp_path):
    options = on_maps_of_one_pixel('NormsStayInTraining')
    with pytest.raises(ConfigError, match=r'^val_dataloader\.batch_size is 359, .* model\.base does not take a single'):
        build(tmp_path / 'a', **options, **{'val_dataloader.batch_size': 359})
    build(tmp_path / 'b', **options, **{'val_dataloader.batch_size': 100})


@pytest.mark.parametrize(
    ('images', 'round_up', 'single'),
    [(33, True, [True, True]), (33, False, [True, False]), (34, True, [True, True]), (35, True, [False, False])],
)
def test_every_process_counts_its_own_images(monkeypatch, images, round_up, single):
    for rank in (0, 1):
        monkeypatch.setattr(sampler, 'get_dist_info', lambda: (rank, 2))  # noqa: B023
        data = list(range(images))
        loader = DataLoader(data, 16, sampler=DefaultSampler(data, seed=0, round_up=round_up))
        assert has_single_samples(loader) == single[rank]


def test_single_image_left_by_skipped_ones_raises_one_sentence(tmp_path):
    """Unreadable images are found only when they are read."""

    @DATASETS.register_module(force=True)
    class OneBad(DigitsDataset):
        def __getitem__(self, index):
            return {'skipped': ('image 1', 'is unreadable')} if index == 1 else super().__getitem__(index)

    loader = {'train_dataloader.batch_size': 2, 'train_dataloader.sampler.shuffle': False}
    loader |= {'train_dataloader.num_batch_per_epoch': None, 'train_dataloader.drop_last': True}
    config = digits_config(tmp_path, epochs=1, **on_maps_of_one_pixel(**loader))
    config.train_dataloader.dataset.type = 'OneBad'
    with pytest.raises(
        ConfigError,
        match=r"^train_dataloader.dataset.on_error is 'skip', which leaves one image of a batch of 2 \(image 1 is unreadable\), on which the model cannot be trained \(ValueError: Exp",
    ):
        train(config)
