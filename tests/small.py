"""Runs with a small pair of models and few images to validate on."""

from motivation.datasets import DigitsDataset
from motivation.registry import DATASETS
from tests.conftest import digits_config

SMALL_PAIR = {'model.motivated.model_name': 'cifar_resnet8', 'model.motivated.width': 2}
FEW_IMAGES = {
    f'{stage}_dataloader.{name}': value
    for stage in ('val', 'test')
    for name, value in (('batch_size', 40), ('num_batch_per_epoch', 1))
}

# A run that only trains.
BARE = {
    **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
    **dict.fromkeys(('default_hooks.export', 'default_hooks.report', 'default_hooks.progress')),
}


def small_config(work_dir, epochs=1, **options):
    return digits_config(work_dir, epochs, **{**SMALL_PAIR, **FEW_IMAGES, **options})


@DATASETS.register_module(force=True)
class FewDigits(DigitsDataset):
    """The first training digits, so that an epoch of few batches sees every image."""

    def __init__(self, count, transforms=()):
        super().__init__('train', transforms)
        self.source.images, self.source.targets = self.source.images[:count], self.source.targets[:count]


def few_digits(count):
    return {'train_dataloader.dataset.type': 'FewDigits', 'train_dataloader.dataset.count': count}
