"""Registers torchvision's transforms (v2) by class name, and timm's factory as ``TimmTransform``."""

from typing import Any

import torch
from timm.data import create_transform
from torchvision.transforms import v2

from motivation.registry import TRANSFORMS

for _name in dir(v2):
    _transform = getattr(v2, _name)
    if isinstance(_transform, type) and issubclass(_transform, torch.nn.Module) and _name != 'Transform':
        TRANSFORMS.register_module(name=_name, module=_transform)


@TRANSFORMS.register_module()
class TimmTransform:
    """timm's augmentation, without its normalisation, which is the model's.

    Args:
        input_size: Side of the square output, in pixels.
        is_training: Whether to augment.
        **kwargs: Further arguments of :func:`timm.data.create_transform` (``auto_augment``,
            ``re_prob``, ``scale``, ...).

    Example:
        >>> transforms = [dict(type='TimmTransform', input_size=224, is_training=True, auto_augment='rand-m9')]
    """

    def __init__(self, input_size: int, is_training: bool = False, **kwargs: Any) -> None:
        self.transform = create_transform(input_size, is_training=is_training, normalize=False, **kwargs)

    def __call__(self, image: Any) -> torch.Tensor:
        """Augment one image.

        Args:
            image: PIL image, or uint8 tensor (C, H, W).

        Returns:
            uint8 tensor (C, H, W).
        """
        if isinstance(image, torch.Tensor):
            image = v2.functional.to_pil_image(image)
        return self.transform(image)
