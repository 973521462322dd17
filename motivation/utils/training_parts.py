"""The parts of a training, each with its own image size (progressive resizing)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from mmengine.device import get_device
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from motivation.errors import ArgumentError, shortened
from motivation.utils.arguments import Count, build_nested, checked

Size = tuple[int, int]

# Difference from 1 of the sum of shares that are written with few digits, such as three of 0.333.
_LEEWAY = 0.01


@dataclass(frozen=True)
class TrainingPart:
    """A part of a training.

    Attributes:
        share: Its share of the batches of the run, above 0.
        size: Height and width of its training images in pixels; ``None`` for those of the data loader.
    """

    share: float
    size: Size | None


class TrainingParts:
    """The parts of a training, one after another.

    Legend: N images, C channels, H x W pixels.

    The part of a batch depends on its number alone, so that a resumed run goes on within its part.

    Args:
        parts: ``dict(share=..., image_size=...)`` for each: the share of the batches of the run, and the side of its
            square training images in pixels or ``[height, width]``; without ``image_size`` the images keep their size.
            ``None`` (default) for one part that keeps it.

    Raises:
        ArgumentError: There is no part, a value is invalid, or the shares do not add up to 1.
    """

    def __init__(self, parts: Sequence[Mapping[str, Any]] | None = None) -> None:
        parts = [{'share': 1.0}] if parts is None else parts
        if not parts:
            raise ArgumentError('parts', f'must be a list that is not empty, got {shortened(parts)}')
        self.parts = [_build(place, part) for place, part in enumerate(parts)]
        total = sum(part.share for part in self.parts)
        if abs(total - 1) > _LEEWAY:
            raise ArgumentError('parts', f'have shares that add up to {total:g}; make it 1')

    def __repr__(self) -> str:
        sizes = ('full size' if part.size is None else ' x '.join(map(str, part.size)) for part in self.parts)
        return ', then '.join(f'{part.share:.0%} at {size}' for part, size in zip(self.parts, sizes, strict=True))

    def ends(self, batches: int) -> list[int]:
        """Return the number of batches after which each part is over, of a run of ``batches`` batches."""
        sums = list(accumulate(part.share for part in self.parts))
        return [round(done / sums[-1] * batches) for done in sums]

    @property
    def resizes(self) -> bool:
        """Whether a part has an image size of its own."""
        return any(part.size is not None for part in self.parts)

    def fit(self, batch: Any, number: int, batches: int) -> Any:
        """Return a batch, counted from 0, with images of the size of its part; see :func:`resized`."""
        return resized(batch, self.part_of(number, batches).size)

    def part_of(self, batch: int, batches: int) -> TrainingPart:
        """Return the part of a batch, counted from 0, of a run of ``batches`` batches."""
        return next(
            (part for part, end in zip(self.parts, self.ends(batches), strict=True) if batch < end), self.parts[-1]
        )


def _build(place: int, part: Any) -> TrainingPart:
    if not isinstance(part, Mapping):
        raise ArgumentError(
            f'parts.{place}', f'must be a dict, got {shortened(part)}; write dict(share=..., image_size=...)'
        )
    if 'share' not in part:
        raise ArgumentError(f'parts.{place}.share', 'is missing; give the share of the batches of the run')
    built = build_nested(_Fields, f'parts.{place}', part)
    size = built.image_size
    if isinstance(size, int):
        return TrainingPart(built.share, (size, size))
    if size is not None and len(size) != 2:
        raise ArgumentError(f'parts.{place}.image_size', f'must be a number or [height, width], got {shortened(size)}')
    return TrainingPart(built.share, None if size is None else (size[0], size[1]))


class _Fields:
    """The fields of a part."""

    @checked
    def __init__(
        self, share: Annotated[float, Gt(0), Le(1)], image_size: Count | Sequence[Count] | None = None
    ) -> None:
        self.share, self.image_size = share, image_size


@torch.no_grad()
def resized(batch: Any, size: Size | None) -> Any:
    """Return a batch with its images resized on the training device, bilinear with antialiasing.

    Args:
        batch: ``'inputs'``: (N, C, H, W), uint8 or float. It is not modified.
        size: Height and width in pixels; ``None`` to return the batch as it is.
    """
    if size is None or tuple(batch['inputs'].shape[-2:]) == size:
        return batch
    images: Tensor = batch['inputs'].to(get_device(), non_blocking=True)
    batch = copy.copy(batch)  # with what it records beside its tensors
    batch['inputs'] = resize(images, list(size), antialias=True)
    return batch
