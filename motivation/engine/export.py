"""One model on disk, apart from the run that trained it."""

from pathlib import Path
from typing import Any

from mmengine.model import BaseModel

from motivation.engine.checkpoint import check_fits, read_checkpoint, write_checkpoint
from motivation.errors import ConfigError
from motivation.registry import MODELS


def export_model(model: BaseModel, config: dict[str, Any], path: Path) -> None:
    """Write one model with what is needed to build it again.

    The file is plain data: ``'config'``, the model's config; ``'state_dict'``, the weights of its
    backbone under timm's own names, so that where no ``stem`` was adapted ``timm.create_model(model_name,
    num_classes=..., checkpoint_path=path)``, with the config's other arguments, loads them too;
    ``'mean'`` and ``'std'`` of its input.

    Args:
        model: A model with a ``backbone`` and a data preprocessor with ``mean`` and ``std``, such as
            :class:`~motivation.models.TimmClassifier`, or any other, whose weights are written whole.
        config: The config it was built from.
        path: The file written.
    """
    exported: dict[str, Any] = {'config': config, 'state_dict': getattr(model, 'backbone', model).state_dict()}
    for name in ('mean', 'std'):
        if hasattr(model.data_preprocessor, name):
            exported[name] = getattr(model.data_preprocessor, name).flatten().tolist()
    write_checkpoint(exported, path)


def load_exported(path: str | Path) -> BaseModel:
    """Build a model from what :func:`export_model` wrote.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: The file is missing, damaged, or no exported model.
    """
    exported = read_checkpoint(Path(path))
    if 'config' not in exported:
        raise ConfigError(f"'{path}' is not an exported model; give the base.pth or motivated.pth of a run")
    config = dict(exported['config'])
    config.pop('pretrained', None)  # its weights are about to be replaced
    model = MODELS.build(config)
    target = getattr(model, 'backbone', model)
    check_fits(exported['state_dict'], target, Path(path))
    target.load_state_dict(exported['state_dict'])
    return model.eval()
