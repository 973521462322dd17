"""A model that a run has exported, read from its file."""

from pathlib import Path

from mmengine.model import BaseModel
from torch import nn

from motivation.errors import ConfigError
from motivation.registry import MODELS
from motivation.utils.checkpoint import check_fits, read_checkpoint


def load_exported(path: str | Path) -> BaseModel:
    """Build a model from what :func:`motivation.export.exported_model.export_model` wrote.

    Returns:
        The model in evaluation mode. Its ``metainfo`` says ``'classes'`` (their names), ``'input_size'``
        (C, H, W) and ``'transforms'`` of the images it was validated with, ``'image_mode'``, and
        ``'mean'`` and ``'std'``; ``None`` or absent is what the run did not know.

    Raises:
        ConfigError: The file is missing, damaged, or no exported model.
    """
    if not Path(path).is_file():
        raise ConfigError(f"exported model '{path}' does not exist; give the base.pth or motivated.pth of a run")
    exported = read_checkpoint(Path(path))
    if 'config' not in exported:
        raise ConfigError(f"'{path}' is not an exported model; give the base.pth or motivated.pth of a run")
    config = dict(exported['config'])
    config.pop('pretrained', None)  # its weights are about to be replaced
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
    """Return the part of a model whose weights are written: its ``backbone`` if that has all of them, else the model."""
    backbone = getattr(model, 'backbone', None)
    whole = isinstance(backbone, nn.Module) and all(name.startswith('backbone.') for name in model.state_dict())
    return backbone if whole and backbone is not None else model
