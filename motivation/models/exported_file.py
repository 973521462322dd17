"""Loading an exported model."""

from pathlib import Path

from mmengine.model import BaseModel
from torch import nn

from motivation.errors import ConfigError
from motivation.registry import MODELS, look_up
from motivation.utils.checkpoint import check_fits, read_checkpoint


def load_exported(path: str | Path) -> BaseModel:
    """Build a model from a file written by :func:`motivation.export.exported_model.export_model`.

    Returns:
        The model in evaluation mode. Its ``metainfo`` has the names of the ``'classes'``, the ``'input_size'``
        (C, H, W), ``'transforms'`` and ``'image_mode'`` of the validation images, and ``'mean'`` and ``'std'``;
        unknown ones are ``None`` or absent.

    Raises:
        ConfigError: The file is missing, corrupted, or not an exported model.
    """
    if not Path(path).is_file():
        raise ConfigError(f"exported model '{path}' does not exist; give the base.pth or motivated.pth of a run")
    exported = read_checkpoint(Path(path))
    if 'config' not in exported:
        raise ConfigError(f"'{path}' is not an exported model; give the base.pth or motivated.pth of a run")
    config = dict(exported['config'])
    config.pop('pretrained', None)  # the weights are loaded below
    if look_up(MODELS, config['type']) is None:
        raise ConfigError(
            f"'{path}' is of the model {config['type']!r}, which is not registered; import the module that registers it first"
        )
    model = MODELS.build(config)
    target = exported_module(model)
    check_fits(exported['state_dict'], target, Path(path))
    target.load_state_dict(exported['state_dict'])
    model.metainfo = {
        **exported.get('metainfo', {}),
        **{name: exported[name] for name in ('mean', 'std') if name in exported},
    }
    return model.eval()


def exported_module(model: nn.Module) -> nn.Module:
    """Return the module whose weights are exported: the model's ``backbone`` if it has all of them, else the model."""
    backbone = getattr(model, 'backbone', None)
    is_complete = isinstance(backbone, nn.Module) and all(name.startswith('backbone.') for name in model.state_dict())
    return backbone if is_complete and backbone is not None else model
