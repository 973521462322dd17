"""Torchvision's transforms (v2), registered by class name and built from plain values in a config."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import Any

import torch
from mmengine.registry import Registry, build_from_cfg
from torchvision import tv_tensors
from torchvision.transforms import v2

from motivation.errors import ArgumentError
from motivation.registry import TRANSFORMS, look_up

for _name in dir(v2):
    _transform = getattr(v2, _name)
    if (
        isinstance(_transform, type)
        and issubclass(_transform, torch.nn.Module)
        and _name not in ('Transform', 'ToTensor')
    ):
        TRANSFORMS.register_module(name=_name, module=_transform)


@TRANSFORMS.register_module()
class ToTensor:
    """Convert an image to a float tensor (C, H, W) with values from 0 to 1.

    Unlike torchvision's ``ToTensor``, this one also scales uint8 tensors, so that images kept in memory
    and images read from files give the same result.
    """

    def __call__(self, image: Any) -> torch.Tensor:
        """Convert a PIL image or a tensor; float tensors are taken to be from 0 to 1 already."""
        tensor = v2.functional.to_image(image).as_subclass(torch.Tensor)
        return v2.functional.to_dtype(tensor, torch.float32, scale=True)

    def __repr__(self) -> str:
        return 'ToTensor()'


_BOXES = 'ClampBoundingBoxes ConvertBoundingBoxFormat RandomIoUCrop SanitizeBoundingBoxes SetClampingMode'
_POINTS = 'ClampKeyPoints SanitizeKeyPoints'
_REASONS = {
    'MixUp CutMix': (
        'mixes the images of a batch and their labels; give the models mixup=dict(mixup_alpha=..., cutmix_alpha=...)'
    ),
    'Lambda': 'takes a function, which a config cannot hold; register a class of your own in TRANSFORMS',
    f'{_BOXES} {_POINTS} UniformTemporalSubsample': (
        'is for boxes, key points or videos, and the data are images with a class; leave it out'
    ),
}

# Transforms of torchvision that are refused, with the reason.
REFUSED = {getattr(v2, name): why for names, why in _REASONS.items() for name in names.split() if hasattr(v2, name)}

# Arguments that accept more types than torchvision's annotations say.
UNTYPED = {(v2.RandomErasing, 'value')}

# Names of input types, for transforms that take a value for each type of input, such as a dtype.
_TYPES = {
    'Tensor': torch.Tensor,
    **{name: kind for name, kind in vars(tv_tensors).items() if isinstance(kind, type)},
}


@TRANSFORMS.builder
def build_transform(cfg: Any, registry: Registry, **kwargs: Any) -> Any:
    """Build a transform from a config, converting plain values to the types that its arguments are annotated with.

    A string becomes a member of an enumeration or a dtype, a list becomes a tensor, and a config becomes
    a nested transform, at any depth.

    Args:
        cfg: Config of the transform.
        registry: Registry to look up ``type`` in.
        **kwargs: Passed to :func:`mmengine.registry.build_from_cfg`.

    Raises:
        ConfigError: The transform does not apply to a single image.

    Example:
        >>> flip = dict(type='RandomApply', transforms=[dict(type='RandomRotation', degrees=15)], p=0.3)
        >>> policy = dict(type='AutoAugment', policy='cifar10', interpolation='bilinear')
        >>> scaled = dict(type='ToDtype', dtype='float32', scale=True)
    """
    name = cfg.get('type') if isinstance(cfg, Mapping) else None
    component: Any = look_up(registry, name)
    if component in REFUSED:
        raise ArgumentError('type', f'is {component.__name__}, which {REFUSED[component]}')
    if callable(component):
        try:
            parameters: Mapping[str, inspect.Parameter] = inspect.signature(component, eval_str=True).parameters
        except (NameError, ValueError):  # an annotation that is not imported at run time, or no signature
            parameters = {}
        annotations = {key: parameter.annotation for key, parameter in parameters.items()}
        cfg = {key: from_plain(value, annotations.get(key), registry.build) for key, value in cfg.items()}
    return build_from_cfg(cfg, registry, **kwargs)


def from_plain(value: Any, annotation: Any, build: Callable[[Any], Any] = lambda config: config) -> Any:
    """Convert a plain value of a config to the type that an argument is annotated with.

    Args:
        value: The value.
        annotation: Annotation of the argument.
        build: Builds a nested config, for arguments annotated as callables.

    Returns:
        The converted value, or ``value`` itself if there is nothing to convert.
    """
    kind, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, UnionType):
        objects = (from_plain(value, member, build) for member in inner)
        return next((other for other in objects if other is not value), value)
    if kind is Callable:
        return build(value) if isinstance(value, Mapping) and 'type' in value else value
    if kind is torch.dtype and isinstance(value, str):
        dtype = getattr(torch, value.removeprefix('torch.'), None)
        return dtype if isinstance(dtype, torch.dtype) else value
    if not isinstance(kind, type):
        return value
    if issubclass(kind, Enum) and isinstance(value, str):
        return next((member for member in kind if value in (member.value, member.name)), value)
    if kind is torch.Tensor and isinstance(value, (list, tuple)):
        try:
            return torch.tensor(value, dtype=torch.get_default_dtype())
        except (TypeError, ValueError):  # not numeric, or ragged
            return value
    if issubclass(kind, Mapping) and isinstance(value, Mapping) and len(inner) == 2:
        by_type = type in (inner[0], *typing.get_args(inner[0]))
        return {
            _TYPES.get(key, key) if by_type else key: from_plain(item, inner[1], build) for key, item in value.items()
        }
    if issubclass(kind, Sequence) and isinstance(value, (list, tuple)) and inner:
        items = [from_plain(item, inner[0], build) for item in value]
        return value if all(map(lambda new, old: new is old, items, value)) else items
    return value
