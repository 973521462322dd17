"""The images of an opened data set, decoded on access or once into memory."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image
from timm.data import ImageDataset as TimmImages
from torch.utils.data import IterableDataset
from torchvision.transforms import v2

from motivation.datasets.decoding import Decoder, upright
from motivation.datasets.image_dataset import BadImageError, TensorImages, unreadable
from motivation.datasets.image_files import ImageFiles
from motivation.datasets.listed_files import ListedFiles
from motivation.datasets.shards import ShardImages
from motivation.errors import ArgumentError

# Readers of ours, which open an image without decoding it.
_OPENING = (ImageFiles, ListedFiles, ShardImages)


class DecodedImages(Sequence[tuple[Any, Any]]):
    """The images of an opened data set in one mode, with their labels.

    Args:
        opened: What a reader of ours or timm's has opened.
        decode: Decodes image files.
        renumbering: The class index of each class of ``opened``; ``None`` (default) for its own.

    Attributes:
        is_fresh: Whether every access decodes an image, which nothing else then holds.
    """

    def __init__(self, opened: Any, decode: Decoder, renumbering: Sequence[int] | None = None) -> None:
        self.opened = _read_all(opened) if isinstance(opened, IterableDataset) else opened
        self.decode = decode
        self.renumbering = renumbering
        self._complained: set[int] = set()  # images that this process has named
        self.is_fresh = isinstance(opened, (*_OPENING, TimmImages))

    def __len__(self) -> int:
        return len(self.opened)

    def __getitem__(self, index: int) -> tuple[Any, Any]:  # type: ignore[override]
        try:
            image, target = self._read(index)
        except Exception as error:  # decoders raise errors of any type
            raise unreadable(self.name(index), error) from error
        if self.decode.complaints and index not in self._complained:
            self._complained.add(index)
            said = '; '.join(dict.fromkeys(self.decode.complaints))
            print_log(
                f'{self.name(index)} is damaged, and some of its pixels may be wrong: {said}',
                'current',
                logging.WARNING,
            )
        return image, self._label(target)

    def _label(self, target: Any) -> Any:
        if isinstance(target, np.ndarray):
            return target
        label = -1 if target is None else int(target)
        return (
            label if self.renumbering is None or label not in range(len(self.renumbering)) else self.renumbering[label]
        )

    def _read(self, index: int) -> tuple[Any, Any]:
        if isinstance(self.opened, _OPENING):
            with self.opened.open(index) as image:
                return self.decode(image), self.opened.samples[index][1]
        if not isinstance(self.opened, TimmImages):
            image, target = self.opened[index]
            return upright(image, self.decode.mode), target
        # timm's own dataset is bypassed, because it replaces an unreadable image by the next one.
        file, target, *_ = self.opened.reader[index]
        with file:
            return self.decode(Image.open(file)), target

    @property
    def files(self) -> list[str] | None:
        """Path of each image, or ``None`` if they are no files."""
        return [path for path, _ in self.opened.samples] if isinstance(self.opened, (ImageFiles, ListedFiles)) else None

    def name(self, index: int) -> str:
        """Return the name of an image for error messages: its quoted file if it has one, else its index."""
        samples = getattr(getattr(self.opened, 'reader', self.opened), 'samples', None)
        if samples is None:
            return f'image {index}'
        return repr(
            self.opened.filename(index, absolute=True) if isinstance(self.opened, TimmImages) else samples[index][0]
        )


def _read_all(opened: IterableDataset) -> list[tuple[Any, Any]]:
    images: list[tuple[Any, Any]] = []
    try:
        images.extend(opened)
    except Exception as error:
        raise unreadable(f'image {len(images)}', error) from error
    return images


def kept_in_memory(source: DecodedImages, cache_mib: int, on_error: str) -> TensorImages | None:
    """Decode all images into memory, or return ``None`` if they have several sizes or do not fit.

    Args:
        source: The images.
        cache_mib: Memory for them in MiB.
        on_error: ``'raise'`` an error on an unreadable image, or ``'skip'`` it; its label is then -1 or zeros.

    Raises:
        ConfigError: An image, or every image, is unreadable.
    """
    images: torch.Tensor | None = None
    targets: torch.Tensor
    unreadable: dict[int, tuple[str, str]] = {}
    for index, image, target in readable(source, on_error, unreadable):
        pixels = image if isinstance(image, torch.Tensor) else v2.functional.pil_to_tensor(image)
        if images is None:
            if len(source) * pixels.numel() > cache_mib * 2**20:
                return None
            images = torch.empty((len(source), *pixels.shape), dtype=torch.uint8)
            targets = _no_labels(len(source), target)
        if pixels.shape != images.shape[1:]:
            return None
        images[index], targets[index] = pixels, torch.as_tensor(target)
    if images is None:
        raise ArgumentError(
            'root', f'holds {len(source)} images of which none is readable: {" ".join(unreadable[0])}; give another'
        )
    return TensorImages(images, targets, unreadable, [source.name(index) for index in range(len(source))], source.files)


def _no_labels(count: int, like: Any) -> torch.Tensor:
    """Return labels that name no class, of as many images, each like a class index or a row of 0 and 1."""
    if isinstance(like, np.ndarray):
        return torch.zeros((count, len(like)), dtype=torch.uint8)
    return torch.full((count,), -1, dtype=torch.int64)


def readable(
    source: Sequence[tuple[Any, Any]], on_error: str, unreadable: dict[int, tuple[str, str]]
) -> Iterator[tuple[int, Any, Any]]:
    """Yield index, image and label of each readable image; add name and problem of others to ``unreadable``."""
    for index in range(len(source)):
        try:
            image, target = source[index]
        except BadImageError as error:
            if on_error == 'raise':
                raise
            unreadable[index] = error.image, error.problem
        else:
            yield index, image, target
