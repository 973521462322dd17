"""Random crops and flips of whole batches, with parameters of its own for every image.

Each class is registered under the name of torchvision's transform (v2) of one image whose arguments and distribution
it has. Parameters are drawn on the host by torch's default generator, so that a batch is the same on every device.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from motivation.errors import ArgumentError
from motivation.registry import BATCH_TRANSFORMS
from motivation.utils.arguments import Share, checked

# Number of boxes that torchvision's random resized crop and random erasing try for an image.
ATTEMPTS = 10


@BATCH_TRANSFORMS.register_module('RandomHorizontalFlip')
class BatchHorizontalFlip:
    """Flip images left to right at random, as torchvision's ``RandomHorizontalFlip`` does.

    Args:
        p: Probability of a flip. Default: 0.5.
    """

    _axis = -1

    @checked
    def __init__(self, p: Share = 0.5) -> None:
        self.p = p

    def __call__(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W) with some of its images flipped."""
        flipped = (torch.rand(len(images)) < self.p).to(images.device, non_blocking=True)
        return torch.where(flipped.view(-1, 1, 1, 1), images.flip(self._axis), images)


@BATCH_TRANSFORMS.register_module('RandomVerticalFlip')
class BatchVerticalFlip(BatchHorizontalFlip):
    """Flip images upside down at random, as torchvision's ``RandomVerticalFlip`` does.

    Args:
        p: Probability of a flip. Default: 0.5.
    """

    _axis = -2


@BATCH_TRANSFORMS.register_module('RandomCrop')
class BatchRandomCrop:
    """Pad images and crop each at a random place, as torchvision's ``RandomCrop`` does.

    Args:
        size: Height and width of the crop in pixels, or one number for both.
        padding: Pixels to add on each side: one number, (left and right, top and bottom), or (left, top, right,
            bottom). Default: none.
        pad_if_needed: Whether to pad images that are smaller than ``size``. Default: ``False``.
        fill: Value of added pixels on the images' scale, or one for each channel. Default: 0.
        padding_mode: What is added: ``'constant'`` (default) ``fill``, or ``'edge'``, ``'reflect'`` or ``'symmetric'``.

    Raises:
        ArgumentError: Padded images are smaller than ``size``.
    """

    @checked
    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float | Sequence[float] = 0,
        padding_mode: Literal['constant', 'edge', 'reflect', 'symmetric'] = 'constant',
    ) -> None:
        arguments = v2.RandomCrop(size, padding, pad_if_needed, fill, padding_mode)  # which knows every spelling
        self.size = tuple(arguments.size)
        self.padding = arguments.padding or [0, 0, 0, 0]  # left, right, top, bottom
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    def __call__(self, images: Tensor) -> Tensor:
        """Return the crops of a batch (N, C, H, W), (N, C, *size)."""
        height, width = self.size
        left, right, top, bottom = self.padding
        if self.pad_if_needed:
            rows = max(height - (images.shape[-2] + top + bottom), 0)
            columns = max(width - (images.shape[-1] + left + right), 0)
            left, right, top, bottom = left + columns, right + columns, top + rows, bottom + rows
        if left or right or top or bottom:
            images = v2.functional.pad(images, [left, top, right, bottom], self.fill, self.padding_mode)
        free = images.shape[-2] - height, images.shape[-1] - width
        if min(free) < 0:
            raise ArgumentError(
                'size',
                f'is {self.size}, larger than the padded images, {tuple(images.shape[-2:])}; give a smaller one, or '
                'pad_if_needed=True',
            )
        top, left = (
            torch.randint(most + 1, (len(images),)) if most else torch.zeros(1, dtype=torch.long) for most in free
        )
        return cut(images, top, left, height, width)


def cut(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Cut a window out of each image of a batch.

    Args:
        images: (N, C, H, W).
        top: Its first row in each image, (N,), or (1,) for all, in host memory.
        left: Its first column, likewise.
        height: Its number of rows.
        width: Its number of columns.

    Returns:
        (N, C, height, width).
    """
    count, channels, _, row = images.shape
    first = (top * row + left).to(images.device, non_blocking=True)
    window = torch.arange(height, device=images.device)[:, None] * row + torch.arange(width, device=images.device)
    pixels = (first[:, None] + window.flatten())[:, None].expand(count, channels, -1)
    return images.flatten(2).gather(2, pixels).unflatten(2, (height, width))


@BATCH_TRANSFORMS.register_module('RandomResizedCrop')
class BatchRandomResizedCrop:
    """Crop a random share of each image and resize it, as torchvision's ``RandomResizedCrop`` does.

    Resizing is a product with a matrix of weights for rows and one for columns, which differ from image to image. The
    weights are those of torch's anti-aliased interpolation: the kernel, stretched by the scale where it shrinks, at the
    distance between the centres of pixels.

    Args:
        size: Height and width of the result in pixels, or one number for both.
        scale: Bounds of the crop's share of the image. Default: 0.08 to 1.
        ratio: Bounds of its width over its height. Default: 3/4 to 4/3.
        interpolation: ``'bilinear'`` (default) or ``'bicubic'``.
        antialias: ``True``, the only choice.

    Raises:
        ArgumentError: ``interpolation`` is another one.
    """

    @checked
    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: Literal[True] = True,
    ) -> None:
        interpolation = InterpolationMode(interpolation)
        if interpolation not in _KERNELS:
            raise ArgumentError('interpolation', f"must be 'bilinear' or 'bicubic', got {interpolation.value!r}")
        self.size = tuple(v2.RandomResizedCrop(size).size)
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.interpolation = interpolation

    def __call__(self, images: Tensor) -> Tensor:
        """Return the resized crops of a batch (N, C, H, W), (N, C, *size), of the same dtype."""
        return cut_and_resize(images, self._draw(images), self.size, self.interpolation)

    def _draw(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first row, first column, height and width of each crop, (N,) each."""
        height, width = images.shape[-2:]
        heights, widths = box_sizes(len(images), height * width, self.scale, self.ratio, tall=False)
        fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        # Where no box fits, torchvision takes the largest of an allowed ratio in the middle.
        low, high = min(self.ratio), max(self.ratio)
        middle = (min(height, round(width / low)), min(width, round(height * high)))
        found, (rows, columns) = first_fitting(fits, (heights, widths), middle)
        top, left = (random_offsets(space) for space in (height - rows, width - columns))
        top, left = torch.where(found, top, (height - rows) // 2), torch.where(found, left, (width - columns) // 2)
        return top, left, rows, columns


def box_sizes(
    count: int, area: float | Tensor, scale: Sequence[float], ratio: Sequence[float], tall: bool
) -> tuple[Tensor, Tensor]:
    """Draw the sizes of random boxes, several for each image.

    Args:
        count: Number of images N.
        area: Pixels of an image, or of each, (N, 1).
        scale: Bounds of a box's share of them, drawn uniformly.
        ratio: Bounds of its aspect ratio, whose logarithm is drawn uniformly.
        tall: Whether that is height over width, and not width over height.

    Returns:
        Heights and widths in pixels, (N, :data:`ATTEMPTS`) each.
    """
    areas = area * torch.empty(count, ATTEMPTS, dtype=torch.float64).uniform_(*scale)
    aspects = torch.empty(count, ATTEMPTS, dtype=torch.float64).uniform_(*map(math.log, ratio)).exp()
    long, short = (areas * aspects).sqrt().round().long(), (areas / aspects).sqrt().round().long()
    return (long, short) if tall else (short, long)


def first_fitting(
    fits: Tensor, sizes: tuple[Tensor, Tensor], otherwise: tuple[int, int]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return for each image whether any of its boxes fits, and height and width of the first that does, (N,) each.

    Args:
        fits: Whether a box fits, (N, :data:`ATTEMPTS`).
        sizes: Heights and widths, likewise.
        otherwise: Height and width for an image of which none fits.
    """
    found, first = fits.any(1), fits.int().argmax(1, keepdim=True)
    height, width = (
        torch.where(found, size.gather(1, first)[:, 0], other) for size, other in zip(sizes, otherwise, strict=True)
    )
    return found, (height, width)


def random_offsets(space: Tensor) -> Tensor:
    """Return for each number n a random one of 0, ..., n."""
    return (torch.rand(len(space), dtype=torch.float64) * (space + 1)).long()


def cut_and_resize(
    images: Tensor, boxes: tuple[Tensor, Tensor, Tensor, Tensor], size: Sequence[int], interpolation: InterpolationMode
) -> Tensor:
    """Crop a box out of each image of a batch and resize it, with anti-aliasing.

    Args:
        images: (N, C, H, W).
        boxes: First row, first column, height and width of each box, (N,) each.
        size: Height and width of the result.
        interpolation: Bilinear or bicubic.

    Returns:
        (N, C, *size), of the same dtype; integers are rounded.
    """
    top, left, height, width = (side.to(images.device, non_blocking=True) for side in boxes)
    rows = _weights(top, height, size[0], images.shape[-2], interpolation)[:, None]
    columns = _weights(left, width, size[1], images.shape[-1], interpolation)[:, None]
    if images.is_floating_point():
        return rows.to(images) @ (images @ columns.to(images).mT)

    def rounded(pixels: Tensor) -> Tensor:
        return pixels.round_().clamp_(0, torch.iinfo(images.dtype).max)

    # Integers are rounded after the columns as well, as torch and Pillow have it.
    return rounded(rows @ rounded(images.float() @ columns.mT)).to(images.dtype)


def _weights(first: Tensor, length: Tensor, out: int, total: int, interpolation: InterpolationMode) -> Tensor:
    """Return the weight of each of ``total`` pixels in each of ``out``, (N, out, total).

    Args:
        first: First pixel of the box in each image, (N,).
        length: Number of its pixels, (N,).
        out: Number of pixels of the result.
        total: Number of pixels of the image.
        interpolation: The kernel.
    """
    first, length = first.view(-1, 1, 1), length.view(-1, 1, 1)
    scale = length.float() / out
    centre = scale * (torch.arange(out, device=first.device) + 0.5).view(1, -1, 1)
    pixel = torch.arange(total, device=first.device).view(1, 1, -1) - first
    weights = _KERNELS[interpolation]((pixel + 0.5 - centre) / scale.clamp(min=1)) * ((pixel >= 0) & (pixel < length))
    return weights / weights.sum(-1, keepdim=True)


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -1/2, as Pillow has it."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


_KERNELS = {InterpolationMode.BILINEAR: _triangle, InterpolationMode.BICUBIC: _cubic}
