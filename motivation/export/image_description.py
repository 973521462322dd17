"""Describing the images that exported models expect."""

from typing import Any

from mmengine.runner import Runner

from motivation.datasets import DeviceImages, class_names, first_batch
from motivation.datasets.image_dataset import TensorImages
from motivation.registry import DATASETS, look_up
from motivation.utils.arguments import arguments_of
from motivation.utils.batches import noun_of
from motivation.utils.random_state import preserved_random_state

# The PIL mode of images of a data set that has only one, by number of channels.
MODES = {1: 'L', 3: 'RGB'}


def describe_images(runner: Runner) -> dict[str, Any]:
    """Return a description of the images and classes of a run, as plain data.

    Args:
        runner: The run; its validation data are described, or its training data if it has no validation.

    Returns:
        ``'classes'``: class names in the order of the logits; ``'input_size'``: [C, H, W] of a transformed image;
        ``'transforms'``: configs of the validation transforms (the test transforms in a run without validation);
        ``'image_mode'``: PIL mode of the images, by their number of channels if the data set has no such argument; ``'decoder'``: what decodes them
        (:class:`~motivation.datasets.decoding.Decoder`). A value that is not known is ``None``. Data that are not images
        have only ``'classes'``.
    """
    loop = runner.train_loop if runner.val_loop is None else runner.val_loop
    loader = loop.dataloader
    with preserved_random_state():
        batch = first_batch(loader.dataset, collate_fn=loader.collate_fn)
    names = class_names(loader.dataset) or class_names(runner.train_dataloader.dataset)
    classes = None if names is None else [str(name) for name in names]
    if noun_of(batch) != 'image':
        return {'classes': classes}
    is_in_memory = isinstance(getattr(loader.dataset, 'source', loader.dataset), (DeviceImages, TensorImages))
    configs = [runner.cfg.get(f'{stage}_dataloader') for stage in ('val', 'test')]
    dataset = next((config['dataset'] for config in configs if config), None)
    size = list(batch['inputs'].shape[1:])
    mode = _plain(dataset_argument(dataset or runner.cfg.train_dataloader['dataset'], 'image_mode'))
    return {
        'classes': classes,
        'input_size': size,
        'transforms': _plain(dataset_argument(dataset, 'transforms')),
        'image_mode': mode or MODES.get(size[0]),
        # Images kept in memory are decoded whole, to tensors, whatever the argument says.
        'decoder': 'opencv' if is_in_memory else _plain(dataset_argument(dataset, 'decoder')),
    }


def dataset_argument(config: Any, name: str) -> Any:
    """Return an argument of a dataset, or the common one of its inner datasets, or ``None`` if there is none."""
    if not isinstance(config, dict):
        return None
    if name in config:
        return config[name]
    inner = [config['dataset']] if 'dataset' in config else config.get('datasets') or ()
    if isinstance(inner, (list, tuple)) and inner:
        values = [dataset_argument(dataset, name) for dataset in inner]
        return values[0] if all(value == values[0] for value in values) else None
    component = look_up(DATASETS, config.get('type'))
    parameter = arguments_of(component)[0].get(name) if callable(component) else None
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _plain(value: Any) -> Any:
    """Return a config as numbers, strings, lists and dicts, with anything else as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f'{value.__module__}.{value.__qualname__}' if isinstance(value, type) else str(value)
