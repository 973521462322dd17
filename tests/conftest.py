"""Small runs and models that many tests share."""

import os
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # tiny networks: threads cost more than they bring

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.models import DualModel

ROOT = Path(__file__).parent.parent
DIGITS = str(ROOT / 'configs/digits/resnet8_resnet20_consecutive.py')


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])  # reading a config adds its folder


def digits_config(work_dir: Path, epochs: int = 2, meter: bool = False, **options) -> Config:
    """Return the quickstart config with a quarter of the images, few epochs and no picture.

    The weight map is the same by names as by tracing, which takes longer, as does formatting the config's text.

    Args:
        work_dir: The work_dir.
        epochs: Number of epochs.
        meter: Whether to count compute, which takes longer than such a run.
        **options: Values by dotted field name.
    """
    short = {'train_cfg.max_epochs': epochs, 'train_dataloader.num_batch_per_epoch': 6}
    if not meter:
        short['default_hooks.compute_meter'] = None
    of_models = ('model.weight_map', 'model.base', 'model.motivated')
    if not any(option == 'model' or option.startswith(of_models) for option in options):
        short['model.weight_map.type'] = 'DepthMap'
    config = load_config(
        DIGITS, {**short, 'default_hooks.report.picture': False, 'default_hooks.predictions.pictures': False, **options}
    )
    object.__setattr__(config, '_format_python_code', False)
    config.work_dir = str(work_dir)
    return config


def tiny_config(work_dir: Path, epochs: int = 2, **options) -> Config:
    """Return :func:`digits_config` with batches of 16 images, of which two validate."""
    tiny = {f'{stage}_dataloader.batch_size': 16 for stage in ('train', 'val', 'test')}
    tiny |= {f'{stage}_dataloader.num_batch_per_epoch': 2 for stage in ('val', 'test')}
    return digits_config(work_dir, epochs, **{**tiny, **options})


def train(config: Config) -> DualModelRunner:
    runner = DualModelRunner.from_cfg(config)
    runner.train()
    return runner


def classifier(model_name: str, **kwargs) -> dict:
    return dict(type='TimmClassifier', model_name=model_name, num_classes=10, **kwargs)


def small_dual_model(statistics: str = 'private', placement: str = 'leading', seed: int = 0) -> DualModel:
    torch.manual_seed(seed)
    return DualModel(
        base=classifier('cifar_resnet8'),
        motivated=classifier('cifar_resnet20'),
        weight_map=dict(type='DepthMap', placement=placement),
        statistics=statistics,
    )


def small_batch(seed: int = 0, images: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        'inputs': torch.randint(0, 256, (images, 3, 16, 16), dtype=torch.uint8, generator=generator),
        'targets': torch.randint(0, 10, (images,), generator=generator),
    }


class Begun(Hook):
    """Notes the weights before the first batch."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if not hasattr(self, 'weights'):
            self.weights = snapshot(runner.model)


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """The folder of a run with averages and re-estimated statistics, whose validation takes 120 of 360 images, inverted."""
    from tests.small import small_config  # which imports this module

    folder = tmp_path_factory.mktemp('finished') / 'run'
    options = {'val_dataloader.num_batch_per_epoch': 3, 'train_dataloader.type': 'DeviceDataLoader'}
    config = small_config(folder, **options, **{'model.ema.decay': 0.7, 'model.recalibrate': 64})
    config.val_dataloader.dataset.transforms = [dict(type='RandomInvert', p=1.0)]
    config.default_hooks.export.save_best = 'accuracy/top1'
    train(config)
    return folder
