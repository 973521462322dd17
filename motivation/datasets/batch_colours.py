"""Random erasing and colour jitter of whole batches, and transforms that treat all images of a batch alike.

See :mod:`motivation.datasets.batch_crops`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from motivation.datasets.batch_crops import box_sizes, first_fitting, random_offsets
from motivation.datasets.transforms import ToTensor, build_transform
from motivation.errors import ArgumentError
from motivation.registry import BATCH_TRANSFORMS
from motivation.utils.arguments import Share, checked

BATCH_TRANSFORMS.builder(build_transform)

# Transforms without random numbers whose own code takes a batch.
for _transform in (v2.CenterCrop, v2.Grayscale, v2.Normalize, v2.Pad, v2.Resize, v2.ToDtype, v2.ToPureTensor, ToTensor):
    BATCH_TRANSFORMS.register_module(_transform.__name__, module=_transform)


@BATCH_TRANSFORMS.register_module('RandomErasing')
class BatchRandomErasing:
    """Overwrite a random box of some images, as torchvision's ``RandomErasing`` does (arXiv 1708.04896).

    Args:
        p: Probability that an image has a box. Default: 0.5.
        scale: Bounds of the box's share of the image. Default: 0.02 to 0.33.
        ratio: Bounds of its height over its width. Default: 0.3 to 3.3.
        value: What it is overwritten with, on the images' scale: a number, one for each channel, or ``'random'`` for
            normally distributed pixels, which need float images. Default: 0.

    Raises:
        ArgumentError: ``value`` does not fit the images.
    """

    @checked
    def __init__(
        self,
        p: Share = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Literal['random'] | Sequence[float] = 0,
    ) -> None:
        v2.RandomErasing(p, scale, ratio, value)  # which checks the bounds
        self.p = p
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.value = value

    def __call__(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W) with boxes."""
        return overwrite(images, self._draw(images), self._values(images))

    def _draw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first row, first column, height and width of each box, (N,) each; the height is 0 without a box."""
        height, width = images.shape[-2:]
        chosen = torch.rand(len(images)) < self.p
        heights, widths = box_sizes(len(images), height * width, self.scale, self.ratio, tall=True)
        found, (rows, columns) = first_fitting((heights < height) & (widths < width), (heights, widths), (0, 0))
        top, left = random_offsets(height - rows), random_offsets(width - columns)
        return top, left, torch.where(chosen & found, rows, 0), columns

    def _values(self, images: Tensor) -> Tensor:
        if self.value == 'random':
            if not images.is_floating_point():
                raise ArgumentError(
                    'value',
                    f"is 'random', and the images are {images.dtype}; put dict(type='ToDtype', dtype='float32', scale=True) "
                    'before it, or give a number',
                )
            return torch.randn(images.shape, dtype=images.dtype, device=images.device)
        values = torch.tensor(self.value, dtype=images.dtype).view(-1, 1, 1)
        if len(values) not in (1, images.shape[1]):
            raise ArgumentError('value', f'has {len(values)} numbers, and the images {images.shape[1]} channels')
        return values.to(images.device, non_blocking=True)


def overwrite(images: Tensor, boxes: tuple[Tensor, Tensor, Tensor, Tensor], values: Tensor) -> Tensor:
    """Return a batch with a box of each image overwritten.

    Args:
        images: (N, C, H, W).
        boxes: First row, first column, height and width of each box, (N,) each.
        values: What is written, of a shape that broadcasts to that of the images.
    """
    top, left, height, width = (side.to(images.device, non_blocking=True).view(-1, 1, 1, 1) for side in boxes)
    row = torch.arange(images.shape[-2], device=images.device).view(1, 1, -1, 1)
    column = torch.arange(images.shape[-1], device=images.device).view(1, 1, 1, -1)
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return torch.where(inside, values, images)


@BATCH_TRANSFORMS.register_module('ColorJitter')
class BatchColorJitter:
    """Change brightness, contrast, saturation and hue of each image at random, as torchvision's ``ColorJitter`` does.

    The four follow each other in an order that is random for each image. Results may differ from torchvision's by
    one grey level of 255 in each of the four, by the order of floating-point operations.

    Args:
        brightness: Bounds of the factor, or b for 1 - b to 1 + b. Default: unchanged.
        contrast: Likewise.
        saturation: Likewise.
        hue: Bounds of the shift as a fraction of the circle, or h for -h to h, at most 0.5. Default: unchanged.
    """

    @checked
    def __init__(
        self,
        brightness: float | Sequence[float] | None = None,
        contrast: float | Sequence[float] | None = None,
        saturation: float | Sequence[float] | None = None,
        hue: float | Sequence[float] | None = None,
    ) -> None:
        bounds = v2.ColorJitter(brightness, contrast, saturation, hue)
        self.bounds: tuple[Any, ...] = (bounds.brightness, bounds.contrast, bounds.saturation, bounds.hue)

    def __call__(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W) in other colours; C is 1 or 3."""
        order = torch.rand(len(images), len(self.bounds)).argsort(1)
        factors = [
            None if bounds is None else torch.empty(len(images)).uniform_(*bounds).view(-1, 1, 1, 1)
            for bounds in self.bounds
        ]
        return adjust(images, order, factors)


def adjust(images: Tensor, order: Tensor, factors: Sequence[Tensor | None]) -> Tensor:
    """Change the colours of images.

    Args:
        images: (N, C, H, W), uint8 from 0 to 255 or float from 0 to 1.
        order: A permutation of brightness (0), contrast (1), saturation (2) and hue (3) for each image, (N, 4), in
            host memory.
        factors: For each of these, its value for each image, (N, 1, 1, 1), in host memory; ``None`` for unchanged.
    """
    images = images.clone()
    for step in range(order.shape[1]):
        for place, (change, factor) in enumerate(zip(_CHANGES, factors, strict=True)):
            chosen = (order[:, step] == place).nonzero()[:, 0]
            if factor is not None and len(chosen):
                values = factor[chosen].to(images.device, non_blocking=True)
                chosen = chosen.to(images.device, non_blocking=True)
                images.index_copy_(0, chosen, change(images.index_select(0, chosen), values))
    return images


def _brighten(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, torch.zeros((), device=images.device), factors)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), factors)


def _saturate(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _grey(images), factors) if images.shape[1] == 3 else images


def _grey(images: Tensor) -> Tensor:
    grey = v2.functional.rgb_to_grayscale(images) if images.shape[1] == 3 else images
    return grey if grey.is_floating_point() else grey.float()


def _blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """Return ``factors * images + (1 - factors) * others`` within the range of the images."""
    blended = images * factors + others * (1 - factors)
    return blended.clamp_(0, 1.0 if images.is_floating_point() else 255.0).to(images.dtype)


def _shift_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the colours of images by a fraction of the circle of hues (Smith, "Color gamut transform pairs", 1978)."""
    if images.shape[1] != 3:
        return images
    colours = v2.functional.to_dtype(images, torch.float32, scale=True)
    value, low = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
    chroma = value - low
    red, green, blue = colours.split(1, 1)
    sixth = torch.where(
        value == red,
        (green - blue),
        torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    ) / torch.where(chroma == 0, 1.0, chroma)
    sector = sixth + 6 * shifts + torch.arange(5, 0, -2, device=images.device).view(1, 3, 1, 1)
    sector = sector.remainder(6)
    turned = value - chroma * torch.minimum(sector, 4 - sector).clamp(0, 1)
    return v2.functional.to_dtype(turned, images.dtype, scale=True)


_CHANGES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (_brighten, _contrast, _saturate, _shift_hue)
