"""timm's augmentation for models that normalise their own inputs."""

import inspect
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from timm.data.auto_augment import AugmentOp
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import v2

from motivation.errors import ArgumentError, near_matches
from motivation.registry import TRANSFORMS

# Weights of red, green and blue in Pillow's conversion to grey (ITU-R 601-2).
_LUMA = (0.299, 0.587, 0.114)

_ARGUMENTS = {
    name: parameter.default
    for name, parameter in inspect.signature(create_transform).parameters.items()
    if name not in ('input_size', 'is_training')
}

# Arguments of create_transform that are refused because they belong to timm's own loader and models, with the reason.
_ELSEWHERE = {
    'normalize': 'the model normalises: give the model this mean and std',
    'use_prefetcher': 'the model takes images to the device and normalises them',
    'separate': "it returns three transforms, for timm's own AugMix dataset",
    're_num_splits': "it tells apart images of timm's own AugMix batches",
    'tf_preprocessing': 'it needs TensorFlow',
    **dict.fromkeys(
        ('naflex', 'patch_size', 'max_seq_len', 'patchify', 'patchify_channels_last', 'patchify_flatten'),
        "it belongs to timm's NaFlex models, which take patches and not images",
    ),
}
_HARMLESS = {**_ARGUMENTS, 'normalize': False}

_EVALUATION = {'crop_pct', 'crop_mode', 'crop_border_pixels'}
_CHOICES = {
    're_mode': ('const', 'rand', 'pixel'),
    'train_crop_mode': ('rrc', 'rkrc', 'rkrr'),
    'crop_mode': ('squash', 'border', 'center'),
    'interpolation': ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos', 'random'),
}
_EITHER = {'interpolation', 'mean', 'std'}

# Policies of auto_augment and the sections that each takes. timm ignores some unknown sections in silence.
_WHOLE, _REAL = r'\d+', r'\d+(?:\.\d*)?'
_RAND = {'m': _WHOLE, 'n': _WHOLE, 'p': _REAL, 'mstd': _REAL, 'mmax': _WHOLE, 'inc': _WHOLE, 't': '(?:weights|3aw?)'}
_POLICIES = {
    'rand': _RAND,
    'augmix': {'m': _WHOLE, 'w': _WHOLE, 'd': _WHOLE, 'a': _REAL, 'b': _WHOLE, 'mstd': _REAL},
    **{policy: {'mstd': _REAL} for policy in ('v0', 'v0r', 'original', 'originalr', '3a')},
}


@TRANSFORMS.register_module()
class TimmTransform:
    """Augment or resize an image as timm does, without normalising it.

    Erased regions (``re_prob``) are filled as timm fills them in normalised images: with ``mean``
    (``re_mode='const'``), or with normal noise of mean ``mean`` and standard deviation ``std`` (``'rand'``,
    ``'pixel'``), clipped to the range of the image. Posterizing keeps at least one bit, because Pillow refuses to
    keep none. For greyscale images, a ``mean`` or ``std`` of three values is converted to its luma.

    Args:
        input_size: Side of the square output in pixels, or (height, width).
        is_training: Whether to augment; ``False`` (default) resizes and crops for evaluation.
        mean: Mean of each channel, from 0 to 1, to fill borders and erased regions with; ImageNet's by default.
        std: Standard deviation of each channel, from 0 to 1, of noise in erased regions; ImageNet's by default.
        **kwargs: Further arguments of :func:`timm.data.create_transform` (``auto_augment``, ``re_prob``,
            ``scale``, ...). Arguments that would have no effect are refused.

    Raises:
        ConfigError: An argument is unknown, has a value that timm does not take, belongs to timm's own loader, or
            has no effect: a training argument for evaluation, an evaluation argument for training, or an
            augmentation with ``no_aug``.

    Example:
        >>> transforms = [dict(type='TimmTransform', input_size=224, is_training=True, auto_augment='rand-m9')]
    """

    def __init__(
        self,
        input_size: int | Sequence[int],
        is_training: bool = False,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
        **kwargs: Any,
    ) -> None:
        _check(is_training, kwargs)
        self.mean, self.std = tuple(mean), tuple(std)
        erase = {name: kwargs.pop(f're_{name}') for name in ('prob', 'mode', 'count') if f're_{name}' in kwargs}
        self.erasing = None
        if erase.get('prob') and is_training and not kwargs.get('no_aug'):
            self.erasing = RandomErasing(
                erase['prob'], mode=erase.get('mode', 'const'), max_count=erase.get('count', 1), device='cpu'
            )
        kwargs['normalize'] = False
        # One for greyscale and one for colour images, because their fill colours differ.
        self.transforms = {
            channels: create_transform(
                tuple(input_size) if isinstance(input_size, Sequence) else input_size,
                is_training=is_training,
                mean=_for_channels(self.mean, channels),
                std=_for_channels(self.std, channels),
                **kwargs,
            )
            for channels in (1, 3)
        }
        for op in _augment_ops(list(self.transforms.values())):
            if op.name.startswith('Posterize'):
                op.level_fn = partial(_at_least_one_bit, op.level_fn)

    def __call__(self, image: Any) -> torch.Tensor:
        """Augment or resize one image.

        Args:
            image: PIL image, or uint8 tensor (C, H, W).

        Returns:
            uint8 tensor (C, H, W).
        """
        if isinstance(image, torch.Tensor):
            image = v2.functional.to_pil_image(image)
        pixels = self.transforms[1 if len(image.getbands()) == 1 else 3](image)
        return pixels if self.erasing is None else self._erase(pixels)

    def _erase(self, pixels: torch.Tensor) -> torch.Tensor:
        mean, std = (
            255 * torch.tensor(_for_channels(values, len(pixels))).view(-1, 1, 1) for values in (self.mean, self.std)
        )
        normalised = (pixels - mean) / std
        assert self.erasing is not None
        return (self.erasing(normalised) * std + mean).round_().clamp_(0, 255).to(torch.uint8)


def _check(is_training: bool, arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if name not in _ARGUMENTS:
            raise ArgumentError(name, f'is not an argument; {near_matches(name, _ARGUMENTS)}')
        if value == _HARMLESS[name] or (name in _ELSEWHERE and value is None):
            continue
        if name in _ELSEWHERE:
            raise ArgumentError(name, f'is {value!r}, and {_ELSEWHERE[name]}; leave it out')
        _check_value(name, value)
        _check_effect(name, value, is_training, bool(arguments.get('no_aug')))


def _check_value(name: str, value: Any) -> None:
    """Check a value that timm would refuse without naming the argument, or silently take as something else."""
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ArgumentError(name, f'is {value!r}; {near_matches(str(value), _CHOICES[name])}')
    is_probability = name.endswith('_prob') or name in ('hflip', 'vflip')
    if is_probability and not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise ArgumentError(name, f'must be a probability, 0 to 1, got {value!r}')
    if name == 'auto_augment' and value:
        _check_policy(value)


def _check_policy(value: Any) -> None:
    policy, *sections = str(value).split('-')
    if policy not in _POLICIES:
        raise ArgumentError('auto_augment', f'is {value!r}; {near_matches(policy, _POLICIES)}')
    known = _POLICIES[policy]
    for section in sections:
        if not any(re.fullmatch(key + form, section) for key, form in known.items()):
            raise ArgumentError(
                'auto_augment',
                f'is {value!r}, but {policy!r} has no section {section!r}; give one of '
                f"{', '.join(sorted(known))}, each with its value, as in 'mstd0.5'",
            )


def _check_effect(name: str, value: Any, is_training: bool, no_aug: bool) -> None:
    """Check that an argument has an effect, or is an explicit off."""
    is_random = name == 'interpolation' and value == 'random'  # the only interpolation that is an augmentation
    if not value or (name in _EITHER and not is_random):
        return
    if is_training == (name in _EVALUATION):
        phase, other = ('training', 'evaluation') if is_training else ('evaluation', 'training')
        raise ArgumentError(
            name,
            f'is {value!r}, which has an effect only for {other}, but this transform is for {phase}; leave '
            f'it out, or give is_training={not is_training}',
        )
    if no_aug and name != 'no_aug':
        raise ArgumentError(name, f'is {value!r}, which has no effect with no_aug=True; leave one of the two out')


def _for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return tuple(values)
    if len(values) == 1:
        return (values[0],) * channels
    if len(values) == 3 and channels == 1:
        return (sum(weight * value for weight, value in zip(_LUMA, values, strict=True)),)
    raise ArgumentError(
        'mean',
        f'or std has {len(values)} values, {list(values)}, for images of {channels} channels; give one for each channel',
    )


def _augment_ops(node: Any) -> Iterator[AugmentOp]:
    """Yield every augmentation operation inside a timm transform, at any depth."""
    if isinstance(node, AugmentOp):
        yield node
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _augment_ops(child)
    else:
        for holder in ('transforms', 'ops', 'policy'):  # Compose, RandAugment and AugMix, AutoAugment
            yield from _augment_ops(getattr(node, holder, ()))


def _at_least_one_bit(level_to_arguments: Any, level: float, hparams: dict[str, Any]) -> tuple[int]:
    """Return the number of bits that a level keeps, at least 1: Pillow refuses 0, which used to give black."""
    return (max(1, *level_to_arguments(level, hparams)),)
