"""timm's random erasing, of single images and of whole batches."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Le
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision.transforms import v2

from motivation.datasets.batch_colours import overwrite
from motivation.datasets.batch_crops import box_sizes, first_fitting, random_offsets
from motivation.errors import ArgumentError
from motivation.registry import BATCH_TRANSFORMS, TRANSFORMS
from motivation.utils.arguments import Count, Share, checked

Area = Annotated[float, Gt(0), Le(1)]


@BATCH_TRANSFORMS.register_module('TimmErasing')
class BatchTimmErasing:
    """Overwrite random boxes of some images, as timm's ``RandomErasing`` does in normalised images (arXiv 1708.04896).

    Args:
        p: Probability that an image has boxes. Default: 0.25.
        mode: What a box is overwritten with: ``'const'``, ``mean``; ``'rand'``, one random colour; ``'pixel'`` (default), a
            random colour for each pixel, of normal distributions with ``mean`` and ``std``, clipped to the range of images.
        max_count: Most boxes of an image, whose number is random from 1 and among which the area is divided. Default: 1.
        min_area: Smallest share of the image that they cover, above 0. Default: 0.02.
        max_area: Largest share. Default: 1/3.
        min_aspect: Smallest ratio of height and width, either way, above 0 and at most 1. Default: 0.3.
        mean: Mean of each channel, on the scale 0 to 1, or one for all; ImageNet's by default, for three channels.
        std: Standard deviation of each channel, likewise.

    Raises:
        ArgumentError: An area is larger than the largest, or the images have other channels.

    Example:
        >>> transforms = [dict(type='RandomHorizontalFlip'), dict(type='TimmErasing', p=0.25, mode='pixel')]
    """

    @checked
    def __init__(
        self,
        p: Share = 0.25,
        mode: Literal['const', 'rand', 'pixel'] = 'pixel',
        max_count: Count = 1,
        min_area: Area = 0.02,
        max_area: Area = 1 / 3,
        min_aspect: Area = 0.3,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        if min_area > max_area:
            raise ArgumentError('min_area', f'is {min_area}, above max_area, {max_area}; lower it')
        self.p = p
        self.mode = mode
        self.max_count = max_count
        self.areas = (min_area, max_area)
        self.aspects = (min_aspect, 1 / min_aspect)
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))

    def __call__(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1, with boxes."""
        for name, values in (('mean', self.mean), ('std', self.std)):
            if values.shape[1] not in (1, images.shape[1]):
                raise ArgumentError(name, f'has {values.shape[1]} numbers, and the images {images.shape[1]} channels')
        count = len(images)
        boxes = torch.randint(1, self.max_count + 1, (count,))
        boxes = torch.where(torch.rand(count) < self.p, boxes, 0)
        for number in range(self.max_count):
            images = overwrite(images, self._draw(images, boxes, boxes > number), self._values(images))
        return images

    def _draw(self, images: Tensor, boxes: Tensor, has_one: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first row, first column, height and width of a box of each image; the height is 0 without one."""
        height, width = images.shape[-2:]
        area = height * width / boxes.clamp(min=1)[:, None]
        heights, widths = box_sizes(len(images), area, self.areas, self.aspects, tall=True)
        found, (rows, columns) = first_fitting((heights < height) & (widths < width), (heights, widths), (0, 0))
        top, left = random_offsets(height - rows), random_offsets(width - columns)
        return top, left, torch.where(found & has_one, rows, 0), columns

    def _values(self, images: Tensor) -> Tensor:
        """Return what the boxes of a batch are overwritten with, of a shape that broadcasts to the images'."""
        mean, std = (values.to(images.device, non_blocking=True) for values in (self.mean, self.std))
        values = mean
        if self.mode == 'rand':
            values = mean + std * torch.randn(*images.shape[:2], 1, 1).to(images.device, non_blocking=True)
        elif self.mode == 'pixel':
            values = mean + std * torch.randn(images.shape, device=images.device)
        values = values.clamp(0, 1)
        return values.to(images.dtype) if images.is_floating_point() else (255 * values).round().to(images.dtype)


@TRANSFORMS.register_module()
class TimmErasing(BatchTimmErasing):
    """Overwrite random boxes of an image; see :class:`BatchTimmErasing`, whose arguments it has."""

    def __call__(self, image: Any) -> Tensor:
        """Return an image (C, H, W), PIL or tensor, as a tensor with boxes."""
        pixels = image if isinstance(image, Tensor) else v2.functional.pil_to_tensor(image)
        return super().__call__(pixels[None])[0]
