"""The base class of the image datasets, with its error and its item."""

import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from motivation.errors import ConfigError, one_line
from motivation.registry import TRANSFORMS
from motivation.utils.arguments import checked


class BadImageError(ConfigError):
    """An error about an image that cannot be used.

    Args:
        image: Name of the image: its file, or its index in the dataset. Without a ``problem`` it is the whole
            message, because that is how torch re-raises an error of a data-loader worker.
        problem: What is wrong with the image.
        remedy: What the user can do about it.
    """

    def __init__(self, image: str, problem: str = '', remedy: str = 'fix or remove it') -> None:
        advice = f"{remedy}, or leave such images out with dataset.on_error='skip'"
        super().__init__(f'{image} {problem}; {advice}' if problem else image)
        self.image = image
        self.problem = problem
        self.remedy = remedy


def unreadable(image: str, error: Exception) -> BadImageError:
    """Return the error about an image that a decoder cannot read.

    Args:
        image: Name of the image.
        error: What the decoder raised.
    """
    if isinstance(error, UnidentifiedImageError):
        why = 'it is empty or not an image'  # Pillow's own message contains a memory address
    else:
        why = ' '.join(str(getattr(error, 'strerror', None) or error).split()) or type(error).__name__
    return BadImageError(image, f'is unreadable: {why}')


class Sample(dict[str, Any]):
    """An item of a dataset that carries the name of its image, for messages and reports only.

    Args:
        fields: The contents of the item.
        name: Name of the image.
        index: Index of the item in the dataset; ``None`` (default) if it is not known.
    """

    def __init__(self, fields: Mapping[str, Any], name: str = '', index: int | None = None) -> None:
        super().__init__(fields)
        self.name = name
        self.index = index


class ImageDataset(Dataset):
    """A map-style dataset of images with class labels, transformed on access.

    Legend: C channels, H x W pixels, K classes.

    Args:
        source: Pairs of an image (PIL, or uint8 tensor (C, H, W)) and a class index. If it has a method
            ``name(index)``, error messages use that name for the image; if it has ``is_fresh = True``, nothing
            else holds its images, and transforms may modify them in place; if it has a ``decode``, a
            :class:`~motivation.datasets.decoding.Decoder`, that may apply the first transform.
        classes: Names of the K classes.
        transforms: Configs of the transforms, applied in order.
        on_error: What to do with an image that ``source`` cannot read (it raises :class:`BadImageError`), that a
            transform fails on, or whose class index is not in 0 to K - 1: ``'raise'`` (default) raises
            :class:`BadImageError`, ``'skip'`` leaves the image out of its batch and counts it.
        several_labels: Whether an image has any number of labels; ``source`` then gives, instead of a class index, K values
            of 0 and 1. Default: ``False``.

    Attributes:
        metainfo: A dict whose ``'classes'`` are the K names; with several labels, ``'several_labels'`` is True.
        applied: Number of transforms, of the first, that ``source`` applies itself.

    Raises:
        ConfigError: ``on_error`` is neither ``'raise'`` nor ``'skip'``.
    """

    @checked
    def __init__(
        self,
        source: Sequence[tuple[Any, Any]],
        classes: Sequence[str],
        transforms: Sequence[dict[str, Any]] = (),
        on_error: Literal['raise', 'skip'] = 'raise',
        several_labels: bool = False,
    ) -> None:
        self.source = source
        self.on_error = on_error
        self.metainfo: dict[str, Any] = {
            'classes': list(classes),
            **({'several_labels': True} if several_labels else {}),
        }
        self.transforms = [TRANSFORMS.build(transform) for transform in transforms]
        decode = getattr(source, 'decode', None)
        self.applied = int(decode.take_over(self.transforms[0])) if decode is not None and self.transforms else 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a transformed image and its label.

        Returns:
            ``'inputs'``: tensor (C, H, W), uint8 from 0 to 255 or float from 0 to 1; ``'targets'``: class index, or
            float32 (K,) of 0 and 1 for several labels. A skipped image has only ``'skipped'``: its name and what is wrong with it.

        Raises:
            BadImageError: The image cannot be used and ``on_error`` is ``'raise'``.
            ConfigError: The transforms do not return an image.
        """
        try:
            image, target = self.source[index]
            if several := self.metainfo.get('several_labels', False):
                target = torch.as_tensor(target).to(torch.float32, copy=True)
            else:
                check_labels([target], len(self.metainfo['classes']), lambda _: self._name(index))
            image = self._transform(image if getattr(self.source, 'is_fresh', False) else _own_copy(image), index)
        except BadImageError as error:
            if self.on_error == 'raise':
                raise
            return {'skipped': (error.image, error.problem)}
        if isinstance(image, Image.Image):
            image = v2.functional.pil_to_tensor(image)
        if not isinstance(image, Tensor):
            last = type(self.transforms[-1]).__name__ if self.transforms else 'the source'
            raise ConfigError(
                f'dataset.transforms end with a {type(image).__name__}, of {last}; the last must return one image, a '
                'tensor (C, H, W) or PIL image'
            )
        return Sample({'inputs': image, 'targets': target if several else int(target)}, self._name(index), index)

    def _transform(self, image: Any, index: int) -> Any:
        for place, transform in enumerate(self.transforms[self.applied :], self.applied):
            try:
                image = transform(image)
            except MemoryError:
                raise
            except Exception as error:  # transforms raise errors of any type
                raise BadImageError(
                    self._name(index),
                    f'fails in transforms.{place} ({type(transform).__name__}): {_reason(error)}',
                    'fix the transform, fix or remove the image',
                ) from error
        return image

    def _name(self, index: int) -> str:
        return getattr(self.source, 'name', 'image {}'.format)(index)


def _reason(error: Exception) -> str:
    """Return an error as one line, with the line of code that raised it unless that is in an installed package."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = '' if 'site-packages' in frame.filename else f' ({Path(frame.filename).name}, line {frame.lineno})'
    return one_line(f'{type(error).__name__}: {error}', 240).removesuffix(': ') + place


def _own_copy(image: Any) -> Any:
    """Return a copy of an image, because a transform may modify it in place and the source may keep it in memory."""
    if isinstance(image, Tensor):
        return image.clone()
    return image.copy() if hasattr(image, 'copy') else copy.deepcopy(image)


def check_labels(labels: Sequence[int], num_classes: int, name: Callable[[int], str]) -> None:
    """Check that every class index is at least 0 and below the number of classes.

    Args:
        labels: Class indices.
        num_classes: Number of classes.
        name: Returns the name of the image at a position in ``labels``.

    Raises:
        BadImageError: A class index is out of range.
    """
    for place, label in enumerate(labels):
        if not 0 <= label < num_classes:
            raise BadImageError(name(place), f'has the label {label}, but num_classes is {num_classes}')


class TensorImages(Sequence[tuple[Tensor, Any]]):
    """Decoded images of one size, kept in memory.

    Args:
        images: uint8 tensor (N, C, H, W).
        targets: Class indices, (N,), or rows of 0 and 1, (N, K), for several labels an image.
        unreadable: Name and problem of each unreadable image, by index.
        names: Name of each image in error messages; ``None`` (default) for ``'image <index>'``.
        files: Path of each image; ``None`` (default) if they are no files.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        unreadable: Mapping[int, tuple[str, str]] | None = None,
        names: Sequence[str] | None = None,
        files: Sequence[str] | None = None,
    ) -> None:
        assert images.dtype == torch.uint8 and len(images) == len(targets)
        self.images = images
        self.targets: Any = targets if targets.ndim > 1 else targets.tolist()
        self.unreadable = dict(unreadable or {})
        self.names = names
        self.files = files

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:  # type: ignore[override]
        if index in self.unreadable:
            raise BadImageError(*self.unreadable[index])
        return self.images[index], self.targets[index]

    def name(self, index: int) -> str:
        """Return the name of an image for error messages."""
        return f'image {index}' if self.names is None else self.names[index]


def class_names(dataset: Any) -> list[str] | None:
    """Return the class names in the ``metainfo`` of a dataset, or ``None`` if it has none."""
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')
