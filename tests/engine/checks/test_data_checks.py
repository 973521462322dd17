"""Images with an unexpected value range, and problems that --check finds in the data."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from motivation.engine.checks.data_checks import check_scale
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.models.preprocessor import ImagePreprocessor
from motivation.registry import DATASETS, TRANSFORMS
from tests.conftest import digits_config, train

TUTORIAL = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.3], std=[0.35])]


def models(base=((0.5,), (0.25,)), motivated=((0.5,), (0.25,))):
    def model(mean, std):
        return SimpleNamespace(data_preprocessor=ImagePreprocessor(mean, std))

    return SimpleNamespace(model=SimpleNamespace(base=model(*base), motivated=model(*motivated)))


def images(low, high, dtype=torch.float32):
    return {'inputs': torch.linspace(low, high, 3 * 8 * 8).reshape(1, 3, 8, 8).repeat(2, 1, 1, 1).to(dtype)}


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        (
            images(-1.7, 2.1),
            r'of -1\.7 to 2\.1, which model\.base normalises .*; take out of train_dataloader\..* \(Normalize, or',
        ),
        (images(-1, 1), r'.*; take out of .*\(Normalize, .*or give both models mean=\[0\.0\], std=\[1\.0\]$'),
        (images(-0.5, 0.5), r'.*; take out of .*\(Normalize, .*or give both models mean=\[0\.0\], std=\[1\.0\]$'),
        (
            images(-2, 2, torch.bfloat16),
            r'.*; take out of .*\(Normalize, .*or give both models mean=\[0\.0\], std=\[1\.0\]$',
        ),
        (
            images(0, 255),
            r"of 0 to 255, .*; scale them to 0 to 1, as dict\(type='ToDtype', dtype='float32', scale=True\)",
        ),
        (
            images(0, 255, torch.int64),
            r'of torch\.int64; give uint8 on the scale 0 to 255, or float on the scale 0 to 1',
        ),
        (images(0, 65535, torch.int32), r'of torch\.int32; give uint8'),
        (images(0, 1, torch.bool), r'of torch\.bool; give uint8'),
    ],
)
def test_images_with_another_value_range_raise(batch, message):
    with pytest.raises(ConfigError, match=rf'^train_dataloader\.dataset gives images {message}'):
        check_scale(models(), batch, 'train')


def test_images_with_the_expected_value_range_pass():
    noisy = images(0, 1)['inputs'] + 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for batch in (
        images(0, 1),
        images(0, 255, torch.uint8),
        images(-0.1, 1.1),
        {'inputs': noisy},
        {'inputs': 'x'},
        [1],
    ):
        check_scale(models(), batch, 'val')


def drawing(paper, ink, count=4):
    """Sheets of one colour with eight pixels of another."""
    sheets = torch.full((count, 3, 32, 32), paper)
    sheets[:, :, 3, :8] = ink
    return {'inputs': sheets}


def test_a_few_pixels_reveal_the_value_range_of_drawings():
    with pytest.raises(ConfigError, match=r'of -1 to 1, which model\.base normalises'):
        check_scale(models(), drawing(1.0, -1.0), 'train')
    with pytest.raises(ConfigError, match=r'of 0 to 200, .*; scale them to 0 to 1'):
        check_scale(models(), drawing(0.0, 200.0, count=1), 'train')
    check_scale(models(), drawing(1.0, 0.0), 'train')


def test_augmentation_may_exceed_the_range_in_some_images():
    """As torchvision's RandomErasing(value='random') does, by default in half of them."""
    erased = images(0, 1)['inputs'].repeat(4, 1, 1, 1)
    erased[::2, :, 2:6, 2:6] = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    check_scale(models(), {'inputs': erased}, 'train')
    check_scale(models(), {'inputs': erased[:1]}, 'train')  # one image tells nothing of training data
    with pytest.raises(ConfigError, match=r'^val_dataloader'):
        check_scale(models(), {'inputs': erased[:1]}, 'val')


def test_models_without_normalisation_accept_any_floats():
    neither, one = models(*[((0.0,), (1.0,))] * 2), models(base=((0.0,), (1.0,)))
    check_scale(neither, images(-3, 3), 'train')
    check_scale(neither, images(0, 255), 'train')
    with pytest.raises(ConfigError, match=r'which model\.motivated normalises'):
        check_scale(one, images(-3, 3), 'train')
    with pytest.raises(ConfigError, match='int64'):
        check_scale(neither, images(0, 255, torch.int64), 'train')


@pytest.mark.parametrize('stage', ['train', 'val'])
def test_data_normalised_twice_raises_before_training(tmp_path, stage):
    config = digits_config(tmp_path / 'run')
    config[f'{stage}_dataloader'].dataset.transforms = TUTORIAL
    with pytest.raises(
        ConfigError, match=rf'^{stage}_dataloader\.dataset gives images of -0\.857 to 2, which model\.base'
    ):
        train(config)


def test_data_normalised_once_by_its_transforms_trains(tmp_path):
    once = {
        f'model.{name}.{field}': [value]
        for name in ('base', 'motivated')
        for field, value in (('mean', 0.0), ('std', 1.0))
    }
    config = digits_config(tmp_path / 'run', epochs=1, **once)
    config.train_cfg.type = 'CheckLoop'
    config.train_dataloader.dataset.transforms = config.val_dataloader.dataset.transforms = TUTORIAL
    train(config)


def test_first_batch_is_checked_as_well_as_the_first_image(tmp_path):
    @DATASETS.register_module(force=True)
    class LaterNormalised(torch.utils.data.Dataset):
        def __len__(self):
            return 128

        def __getitem__(self, index):
            return {'inputs': torch.full((1, 8, 8), -1.0 if index else 0.5), 'targets': index % 10}

    config = digits_config(tmp_path / 'run', epochs=1)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.val_dataloader.dataset = config.train_dataloader.dataset = dict(type='LaterNormalised')
    runner = DualModelRunner.from_cfg(config)
    with pytest.raises(ConfigError, match=r'^train_dataloader\.dataset gives images of -1 to '):
        runner.train()


def write_images(count, size=lambda index: 32):
    for split in ('train', 'val'):
        for index in range(count):
            folder = Path('data', split, str(index % 2))
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 256, (size(index), size(index)), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f'{index:03}.png')


def check_config(tmp_path, **dataset):
    options = {'model.base.num_classes': 2, 'model.motivated.num_classes': 2}
    config = digits_config(tmp_path / 'run', epochs=1, **options)
    config.train_dataloader.pop('num_batch_per_epoch')
    config.train_cfg.type = 'CheckLoop'
    config.train_dataloader.batch_size = 4
    for stage, values in (('train', dataset), ('val', {})):
        config[f'{stage}_dataloader'].dataset = dict(
            type='TimmDataset', root='data', split=stage, image_mode='L', **values
        )
    return config


def test_check_finds_an_image_of_another_size(tmp_path):
    write_images(100, size=lambda index: 16 if index >= 92 else 12)
    with pytest.raises(ConfigError, match=r'images of one batch have different sizes, \(1, 12, 12\) .* \(1, 16, 16\) '):
        train(check_config(tmp_path))


def test_check_finds_images_on_which_a_transform_fails(tmp_path, capsys):
    write_images(30, size=lambda index: 11 if index == 27 else 12)
    crop = [dict(type='RandomHorizontalFlip'), dict(type='RandomCrop', size=12)]
    with pytest.raises(
        ConfigError,
        match=r"^'data/train/1/027\.png' fails in transforms\.1 \(RandomCrop\): ValueError: Required crop size \(12, 12\) is",
    ):
        train(check_config(tmp_path, transforms=crop))
    config = check_config(tmp_path / 'skip', transforms=crop, on_error='skip')
    config.val_dataloader.dataset.transforms = [dict(type='Resize', size=[12, 12])]
    train(config)
    printed = capsys.readouterr().out
    assert '30 of 30 images of train_dataloader read and transformed, of which 1 are left out' in printed
    assert '30 of 30 images of val_dataloader read and transformed\n' in printed


def test_check_leaves_the_random_state_unchanged(tmp_path, monkeypatch):
    @TRANSFORMS.register_module(force=True)
    class Noise:
        def __call__(self, image):
            return image + torch.randint(0, 2, image.shape, dtype=torch.uint8)

    losses = []
    for looked_over in (64, 1):
        monkeypatch.setattr('motivation.engine.checks.data_checks.LOOKED_OVER', looked_over)
        config = digits_config(tmp_path / str(looked_over), epochs=1)
        config.train_cfg.type = 'CheckLoop'
        config.train_dataloader.dataset.transforms = [dict(type='Noise')]
        runner = DualModelRunner.from_cfg(config)
        said = []
        runner.announce = said.append
        runner.train()
        losses.append([line for line in said if 'loss' in line])
    assert len(losses[0]) == 2 and losses[0] == losses[1]
