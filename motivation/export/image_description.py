"""What images a pair of models was validated with, for who uses the models afterwards."""

from typing import Any

from mmengine.runner import Runner

from motivation.datasets import class_names, first_batch
from motivation.registry import DATASETS, look_up
from motivation.utils.arguments import arguments_of
from motivation.utils.batches import noun_of
from motivation.utils.random_state import preserved_random_state


def describe_images(runner: Runner) -> dict[str, Any]:
    """Return what a user of the models has to know of their images and classes, as plain data.

    Args:
        runner: Has the data: those of validation, or of training where nothing is validated.

    Returns:
        ``'classes'``: their names, in the order of the logits; ``'input_size'``: [C, H, W] of the images
        after their transforms; ``'transforms'``: the configs of the transforms of validation (of the test
        data in a run without validation); ``'image_mode'``: the PIL mode that images were converted to.
        ``None`` for what the data do not say. Of data that are no images only the classes.
    """
    loop = runner.train_loop if runner.val_loop is None else runner.val_loop
    loader = loop.dataloader
    with preserved_random_state():
        batch = first_batch(loader.dataset, collate_fn=loader.collate_fn)
    names = class_names(loader.dataset) or class_names(runner.train_dataloader.dataset)
    classes = None if names is None else [str(name) for name in names]
    if noun_of(batch) != 'image':
        return {'classes': classes}
    configs = [runner.cfg.get(f'{stage}_dataloader') for stage in ('val', 'test')]
    dataset = next((config['dataset'] for config in configs if config), None)
    return {
        'classes': classes,
        'input_size': list(batch['inputs'].shape[1:]),
        'transforms': _plain(_argument(dataset, 'transforms')),
        'image_mode': _plain(_argument(dataset or runner.cfg.train_dataloader['dataset'], 'image_mode')),
    }


def _argument(config: Any, name: str) -> Any:
    """An argument of a dataset, or the one that all datasets in it have; ``None`` if there is none."""
    if not isinstance(config, dict):
        return None
    if name in config:
        return config[name]
    inner = [config['dataset']] if 'dataset' in config else config.get('datasets') or ()
    if isinstance(inner, (list, tuple)) and inner:
        values = [_argument(one, name) for one in inner]
        return values[0] if all(value == values[0] for value in values) else None
    component = look_up(DATASETS, config.get('type'))
    parameter = arguments_of(component)[0].get(name) if callable(component) else None
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _plain(value: Any) -> Any:
    """A config as numbers, strings, lists and dicts; anything else as its name."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f'{value.__module__}.{value.__qualname__}' if isinstance(value, type) else str(value)
