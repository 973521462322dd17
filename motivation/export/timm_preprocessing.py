"""Describing the transforms of validation as timm's transform for evaluation."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# Transforms that only change how the pixels are stored.
_CONVERSIONS = {'ToTensor', 'ToImage', 'ToPureTensor', 'PILToTensor', 'ToDtype', 'Identity'}
# Pillow's numbers, which torchvision takes as well as names.
_INTERPOLATIONS = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}


class Preprocessing(NamedTuple):
    """Arguments of :func:`timm.data.create_transform` for evaluation, under the names of a ``pretrained_cfg``.

    Attributes:
        values: ``'input_size'`` (C, H, W), ``'interpolation'``, ``'crop_pct'`` and ``'crop_mode'``.
        is_exact: Whether they do what the transforms of validation did.
    """

    values: dict[str, Any]
    is_exact: bool


def find_preprocessing(metainfo: Mapping[str, Any], network: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing of the validation of a run; what its transforms do not say is the network's.

    Args:
        metainfo: The description of the images, see :func:`~motivation.export.image_description.describe_images`.
        network: The network's own preprocessing, with the keys of :attr:`Preprocessing.values`.
    """
    own = {name: network[name] for name in ('input_size', 'interpolation', 'crop_pct', 'crop_mode')}
    if not metainfo.get('input_size'):
        return Preprocessing(own, False)
    own['input_size'] = list(metainfo['input_size'])
    steps = [step for step in metainfo.get('transforms') or () if step.get('type') not in _CONVERSIONS]
    said = _said_by(steps, own['input_size'][1:])
    return Preprocessing(own, False) if said is None else Preprocessing({**own, **said}, True)


def _said_by(steps: list[dict[str, Any]], size: list[int]) -> dict[str, Any] | None:
    """Return what the transforms that make images of a size say; ``None`` if timm's transform cannot do the same."""
    match [step['type'] for step in steps]:
        case []:  # the images have that size
            return {'crop_pct': 1.0, 'crop_mode': 'center'}
        case ['TimmTransform'] if not steps[0].get('is_training') and not steps[0].get('crop_border_pixels'):
            return {
                'crop_pct': steps[0].get('crop_pct') or 0.875,  # timm's defaults
                'crop_mode': steps[0].get('crop_mode') or 'center',
                'interpolation': steps[0].get('interpolation') or 'bilinear',
            }
        case ['Resize'] | ['Resize', 'CenterCrop']:
            return _resized(steps[0], size)
    return None


def _resized(resize: dict[str, Any], size: list[int]) -> dict[str, Any] | None:
    interpolation = resize.get('interpolation', 'bilinear')  # torchvision's default
    interpolation = _INTERPOLATIONS.get(interpolation, interpolation)
    given = resize.get('size')
    sides = [given] if isinstance(given, int) else list(given or ())
    is_plain = len(set(sides)) == 1 and resize.get('max_size') is None
    if not is_plain or size[0] != size[1] or interpolation not in _INTERPOLATIONS.values():
        return None
    crop_mode = 'center' if len(sides) == 1 else 'squash'
    return {'crop_pct': _share(size[0], sides[0]), 'crop_mode': crop_mode, 'interpolation': interpolation}


def _share(crop: int, side: int) -> float:
    """Return the share of a side that is cropped, from which timm computes the side again: ``floor(crop / share)``."""
    share = crop / side
    return share if math.floor(crop / share) == side else math.nextafter(share, 0)
