"""Exporting models as folders in the layout that timm's models have on the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from timm.data import resolve_data_config
from timm.models import model_entrypoint
from torch import Tensor

from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.exporter import RUNTIMES, Exporter
from motivation.export.timm_preprocessing import find_preprocessing
from motivation.models.exported_file import OWN_SETTINGS, SETTINGS, WEIGHTS
from motivation.models.timm_classifier import TimmClassifier
from motivation.registry import EXPORTERS
from motivation.utils.example import find_input_size
from motivation.utils.files import write_whole


@EXPORTERS.register_module(name='timm')
class TimmFolder(Exporter):
    """Writes a model as ``config.json`` and ``model.safetensors``, which timm loads as it loads any model of the hub.

    ``timm.create_model('local-dir:FOLDER', pretrained=True)`` builds it and :func:`timm.data.resolve_data_config` its
    preprocessing. A network that timm does not have is under an architecture that timm refuses by name: a CIFAR ResNet
    loads after ``import motivation.models``; one with an adapted stem through
    :func:`~motivation.models.exported_file.load_exported`, as all of these folders do.
    """

    file = WEIGHTS
    runtime = RUNTIMES / 'timm_folder.py'
    takes_uint8 = False  # timm's transforms normalise
    loading = """\
import timm

model = timm.create_model('local-dir:.', pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
logits = model(images)  # tensors, each transform(Image.open(path).convert('{mode}'))
"""

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        model = deployable.model
        if type(model) is not TimmClassifier:
            raise ConfigError(
                f"format 'timm' is for timm's models, and this is a {type(model).__name__}; leave the format out"
            )
        settings = _settings(model, deployable.metainfo)
        weights = safetensors.torch.save(
            {name: tensor.contiguous().clone() for name, tensor in model.backbone.state_dict().items()}  # none shared
        )
        write_whole(path.with_name(SETTINGS), lambda file: file.write(json.dumps(settings, indent=2).encode()))
        write_whole(path, lambda file: file.write(weights))


def registered_by(architecture: str) -> str | None:
    """Return the module that registers an architecture with timm; ``None`` if timm does."""
    module = model_entrypoint(architecture).__module__
    return None if module.startswith('timm.') else module


def _settings(model: TimmClassifier, metainfo: dict[str, Any]) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    backbone: Any = model.backbone
    known, deployed = backbone.pretrained_cfg, model.deployed_config({})
    architecture = deployed['model_name'].partition('.')[0]  # without the tag of pretrained weights
    network = {**resolve_data_config(pretrained_cfg=known), 'input_size': list(model.input_size)}
    preprocessing = find_preprocessing(metainfo, network)
    size, own_size = preprocessing.values['input_size'][1:], find_input_size(backbone)[1:]
    arguments = {
        name: value for name, value in deployed.items() if name not in ('model_name', 'mean', 'std', 'pretrained_cfg')
    }
    if known.get('fixed_input_size'):
        arguments.setdefault('img_size', list(own_size))
    pretrained_cfg = {
        **preprocessing.values,
        'mean': deployed['mean'],
        'std': deployed['std'],
        'fixed_input_size': bool(known.get('fixed_input_size')) and list(size) == list(own_size),
        'pool_size': known.get('pool_size') if list(size) == list(known['input_size'][1:]) else None,
        # timm before 1.0.29 takes the first layer of any other number of channels for one of 3, and drops it.
        'first_conv': known.get('first_conv') if model.input_size[0] in (1, 3) else None,
        'classifier': known.get('classifier'),
    }
    config = {
        'type': 'TimmClassifier',
        'num_classes': model.num_classes,
        **({} if model.stem is None else {'stem': model.stem}),
        **deployed,
    }
    own = {
        'config': config,
        'metainfo': metainfo,
        'registered_by': registered_by(architecture),
        'preprocessing_is_exact': preprocessing.is_exact,
    }
    settings = {
        'architecture': architecture
        if model.stem is None
        else f'{architecture}, with stem={model.stem!r} of motivation',
        'num_classes': model.num_classes,
        'num_features': backbone.num_features,
        **({'label_names': list(metainfo['classes'])} if metainfo.get('classes') else {}),
        'model_args': arguments,
        'pretrained_cfg': pretrained_cfg,
        OWN_SETTINGS: own,
    }
    return _as_json(settings)


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON holds them.

    Raises:
        ConfigError: JSON cannot hold one.
    """
    for name, value in settings[OWN_SETTINGS]['config'].items():
        try:
            is_kept = json.loads(json.dumps(value)) == _lists(value)
        except (TypeError, ValueError):
            is_kept = False
        if not is_kept:
            raise ConfigError(
                f"format 'timm' cannot be written: the model's argument {name} is {value!r}, which JSON does not hold; "
                'leave the format out'
            )
    return settings


def _lists(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    return {key: _lists(item) for key, item in value.items()} if isinstance(value, dict) else value
