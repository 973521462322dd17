"""Runs with a small pair of models and few images to validate on."""

from tests.conftest import digits_config

SMALL = {
    'model.motivated.model_name': 'cifar_resnet8',
    'model.motivated.width': 2,
    **{f'{stage}_dataloader.batch_size': 40 for stage in ('val', 'test')},
    **{f'{stage}_dataloader.num_batch_per_epoch': 1 for stage in ('val', 'test')},
}


def small_config(work_dir, epochs=1, **options):
    return digits_config(work_dir, epochs, **{**SMALL, **options})
