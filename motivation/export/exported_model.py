"""One model on disk, apart from the run that trained it."""

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
    """Write one model with what is needed to build and use it again.

    The file is plain data:

    - ``'config'``: the model's config, which needs nothing but itself. A model says of itself what that
      is with a method ``deployed_config(config)``; of others, pretrained weights named by ``init_cfg``
      are left out, since they are about to be replaced.
    - ``'state_dict'``: its weights, as :func:`exported_module` has them: where a ``backbone`` holds all
      of them, under the backbone's own names, so that where no ``stem`` was adapted
      ``timm.create_model(model_name, num_classes=..., checkpoint_path=path)``, with the config's other
      arguments, loads them too.
    - ``'mean'`` and ``'std'`` of its input, for each channel, on the scale 0 to 1.
    - ``'metainfo'``: as of :func:`~motivation.export.image_description.describe_images`.

    Args:
        model: A model such as :class:`~motivation.models.TimmClassifier`, or any other.
        config: The config it was built from.
        path: The file written.
        state_dict: The weights written; by default those of now.
        metainfo: What is known of its images and classes.

    Raises:
        OSError: It cannot be written.
    """
    deployed = model.deployed_config(config) if hasattr(model, 'deployed_config') else _without_pretraining(config)
    weights = exported_module(model).state_dict() if state_dict is None else state_dict
    exported: dict[str, Any] = {'config': deployed, 'state_dict': weights, 'metainfo': metainfo or {}}
    for name in ('mean', 'std'):
        if hasattr(model.data_preprocessor, name):
            exported[name] = getattr(model.data_preprocessor, name).flatten().tolist()
    write_checkpoint(exported, path)


def _without_pretraining(config: Any) -> Any:
    """A config without the ``init_cfg`` of weights from a file, at any depth."""
    if isinstance(config, (list, tuple)):
        return [_without_pretraining(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _without_pretraining(value)
        for key, value in config.items()
        if not (key == 'init_cfg' and names_weights(value))
    }
