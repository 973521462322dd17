"""Exporting one model to a file that needs nothing of the run."""

from pathlib import Path
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from motivation.models.exported_file import exported_module, load_exported
from motivation.models.pretraining import names_weights
from motivation.utils.checkpoint import write_checkpoint

__all__ = ['export_model', 'load_exported']


def export_model(
    model: BaseModel,
    config: dict[str, Any],
    path: Path,
    state_dict: dict[str, Tensor] | None = None,
    metainfo: dict[str, Any] | None = None,
) -> None:
    """Write one model to a file, with everything needed to build and use it.

    The file is plain data:

    - ``'config'``: a self-contained config of the model: the result of the model's ``deployed_config(config)`` if it
      has that method, else ``config`` without the pretrained weights of an ``init_cfg``.
    - ``'state_dict'``: the weights of :func:`exported_module`. If a ``backbone`` holds all of them, they have the
      backbone's names, so that ``timm.create_model(model_name, num_classes=..., checkpoint_path=path)``, with the
      config's other arguments, loads them too, unless a ``stem`` was adapted.
    - ``'mean'`` and ``'std'`` of the input, by channel, on the scale 0 to 1.
    - ``'metainfo'``: see :func:`~motivation.export.image_description.describe_images`; and ``'outputs'``, what turns logits
      into probabilities, ``'softmax'`` or ``'sigmoid'``, where the model says it.

    Args:
        model: The model.
        config: The config that it was built from.
        path: Path of the file.
        state_dict: The weights to write; ``None`` (default) for the model's current weights.
        metainfo: Description of the model's images and classes. Default: empty.

    Raises:
        OSError: The file cannot be written.
    """
    deployed = model.deployed_config(config) if hasattr(model, 'deployed_config') else _without_pretraining(config)
    weights = exported_module(model).state_dict() if state_dict is None else state_dict
    outputs = {'outputs': model.outputs} if hasattr(model, 'outputs') else {}
    exported: dict[str, Any] = {'config': deployed, 'state_dict': weights, 'metainfo': {**(metainfo or {}), **outputs}}
    for name in ('mean', 'std'):
        if hasattr(model.data_preprocessor, name):
            exported[name] = _shortest(getattr(model.data_preprocessor, name))
    write_checkpoint(exported, path)


def _shortest(values: Tensor) -> list[float]:
    """Return numbers with as few decimal digits as give the same numbers in the type of the tensor."""
    shortest = []
    for value in values.detach().flatten().cpu():
        rounded = (float(f'{value.item():.{digits}g}') for digits in range(1, 17))
        shortest.append(next((number for number in rounded if value.new_tensor(number) == value), value.item()))
    return shortest


def _without_pretraining(config: Any) -> Any:
    """Return a config without any ``init_cfg`` of pretrained weights, at any depth."""
    if isinstance(config, (list, tuple)):
        return [_without_pretraining(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _without_pretraining(value)
        for key, value in config.items()
        if not (key == 'init_cfg' and names_weights(value))
    }
