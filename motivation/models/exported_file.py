"""Loading an exported model."""

from pathlib import Path
from typing import Any

import safetensors.torch
from mmengine.model import BaseModel
from torch import nn

from motivation.errors import ConfigError, one_line
from motivation.registry import MODELS, look_up, refuse_other_code
from motivation.utils.checkpoint import check_fits, read_checkpoint
from motivation.utils.files import read_object

# The files of a folder in the layout of timm's models, and the entry of its settings from which this framework loads it.
SETTINGS, WEIGHTS, OWN_SETTINGS = 'config.json', 'model.safetensors', 'motivation'

_WAY_OUT = 'give another base.pth or motivated.pth of a run'


def load_exported(path: str | Path) -> BaseModel:
    """Build a model from an exported file or folder.

    Args:
        path: A file written by :func:`motivation.export.exported_model.export_model`, or a folder written by
            :class:`motivation.export.timm_folder.TimmFolder`.

    Returns:
        The model in evaluation mode. Its ``metainfo`` has the names of the ``'classes'``, the ``'input_size'``
        (C, H, W), ``'transforms'``, ``'image_mode'`` and ``'decoder'`` of the validation images, ``'outputs'`` (``'softmax'``,
        or ``'sigmoid'`` for several labels an image), and ``'mean'`` and ``'std'``; unknown ones are ``None`` or absent.

    Raises:
        ConfigError: The file is missing, corrupted, not an exported model, or has weights of another dtype than the model's.
    """
    path = Path(path)
    exported, weights, way_out = read_exported(path), path, _WAY_OUT
    if path.is_dir():
        weights, way_out = path / WEIGHTS, f'{SETTINGS} beside it describes another; export the model again'
    config = dict(exported['config'])
    config.pop('pretrained', None)  # the weights are loaded below
    if look_up(MODELS, config.get('type')) is None:
        raise ConfigError(
            f"'{path}' is of the model {config.get('type')!r}, which is not registered; import the module that registers it first"
        )
    try:
        refuse_other_code(MODELS, config)
        model = MODELS.build(config)
    except ConfigError as error:
        raise ConfigError(f"the model of '{path}' cannot be built: {error}") from error
    target = exported_module(model)
    check_fits(exported['state_dict'], target, weights, way_out)
    _check_types(exported['state_dict'], target, weights)
    target.load_state_dict(exported['state_dict'])
    model.metainfo = {
        **exported.get('metainfo', {}),
        **{name: exported[name] for name in ('mean', 'std') if name in exported},
    }
    return model.eval()


def read_exported(path: Path) -> dict[str, Any]:
    """Read an exported file or folder without building its model.

    Returns:
        The model's ``'config'``, ``'state_dict'`` and ``'metainfo'``, see :func:`motivation.export.exported_model.export_model`.

    Raises:
        ConfigError: The file is missing, corrupted, or not an exported model.
    """
    return _read_folder(path) if path.is_dir() else _read_file(path)


def _check_types(weights: dict[str, Any], model: nn.Module, path: Path) -> None:
    for name, tensor in model.state_dict().items():
        if weights[name].dtype != tensor.dtype:  # torch would convert it in silence
            raise ConfigError(
                f"'{path}' is damaged: {name!r} is {weights[name].dtype} instead of {tensor.dtype}; export the model again"
            )


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"exported model '{path}' does not exist; give the base.pth or motivated.pth of a run")
    exported = read_checkpoint(path, way_out=_WAY_OUT)
    if 'config' not in exported:
        raise ConfigError(f"'{path}' is not an exported model; give the base.pth or motivated.pth of a run")
    return exported


def _read_folder(folder: Path) -> dict[str, Any]:
    settings = read_settings(folder)
    own = settings.get(OWN_SETTINGS)
    if not (isinstance(own, dict) and isinstance(own.get('config'), dict) and isinstance(own.get('metainfo'), dict)):
        raise ConfigError(
            f"'{folder / SETTINGS}' is of timm's alone; load it with timm.create_model('local-dir:{folder}', pretrained=True)"
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ConfigError(f"'{folder}' has no {WEIGHTS}; export the model again")
    try:
        state_dict = safetensors.torch.load_file(weights)
    except Exception as error:  # damaged files raise errors of several types
        raise ConfigError(
            f"'{weights}' is damaged or not a safetensors file ({one_line(str(error), 120)}); export the model again"
        ) from error
    return {'config': own['config'], 'state_dict': state_dict, 'metainfo': own['metainfo']}


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of a folder in the layout of timm's models.

    Raises:
        ConfigError: There are none, or they are damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise ConfigError(
            f"'{folder}' has no {SETTINGS}; give the folder of an exported model, or the base.pth or motivated.pth of a run"
        )
    return read_object(path, 'export the model again')


def exported_module(model: nn.Module) -> nn.Module:
    """Return the module whose weights are exported: the model's ``backbone`` if it has all of them, else the model."""
    backbone = getattr(model, 'backbone', None)
    is_complete = isinstance(backbone, nn.Module) and all(name.startswith('backbone.') for name in model.state_dict())
    return backbone if is_complete and backbone is not None else model
