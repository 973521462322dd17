"""The form in which every dataset hands out images."""

import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from motivation.datasets.image_files import composed
from motivation.errors import ConfigError, one_line
from motivation.registry import TRANSFORMS
from motivation.utils.arguments import checked


class BadImageError(ConfigError):
    """An image that cannot be used.

    Args:
        image: What it is called: its file, or its number in the dataset.
        problem: What is wrong with it. Without, ``image`` is the whole sentence, as where torch raises
            the error of a data-loader worker again.
        remedy: What to do about it.
    """

    def __init__(self, image: str, problem: str = '', remedy: str = 'mend or remove it') -> None:
        advice = f"{remedy}, or leave such images out with dataset.on_error='skip'"
        super().__init__(f'{image} {problem}; {advice}' if problem else image)
        self.image = image
        self.problem = problem
        self.remedy = remedy


class Sample(dict[str, Any]):
    """An item of a dataset that knows what messages call it, which no model sees.

    Args:
        fields: The item.
        name: What the image is called.
    """

    def __init__(self, fields: Mapping[str, Any], name: str = '') -> None:
        super().__init__(fields)
        self.name = name


class ImageDataset(Dataset):
    """Images with class labels, transformed when asked for.

    Legend: C channels, H x W pixels, K classes.

    Args:
        source: Pairs of an image (PIL, or uint8 tensor (C, H, W)) and a class index; its
            ``name(index)``, if it has that method, is what messages call an image.
        classes: K names.
        transforms: Configs of transforms, applied in order.
        on_error: At an image whose class index is none of the K, for which ``source`` raises a
            :class:`BadImageError`, or a transform whatever it likes: ``'raise'`` a
            :class:`BadImageError`, or ``'skip'`` the image, which is then left out of its batch and
            counted.

    Attributes:
        metainfo: ``'classes'``: the K names.

    Raises:
        ConfigError: ``on_error`` is neither.
    """

    @checked
    def __init__(
        self,
        source: Sequence[tuple[Any, int]],
        classes: Sequence[str],
        transforms: Sequence[dict[str, Any]] = (),
        on_error: Literal['raise', 'skip'] = 'raise',
    ) -> None:
        self.source = source
        self.on_error = on_error
        self.metainfo = {'classes': list(classes)}
        self.transforms = [TRANSFORMS.build(transform) for transform in transforms]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One image.

        Returns:
            ``'inputs'``: tensor (C, H, W), uint8 on the scale 0 to 255 or float on the scale 0 to
            1; ``'targets'``: class index. Of an image that is left out only ``'skipped'``: what it is
            called, and why.

        Raises:
            BadImageError: The image cannot be used, and is not to be left out.
            ConfigError: The transforms do not give an image.
        """
        try:
            image, target = self.source[index]
            check_labels([target], len(self.metainfo['classes']), lambda _: self._name(index))
            image = self._transform(_own_copy(image), index)
        except BadImageError as error:
            if self.on_error == 'raise':
                raise
            return {'skipped': (error.image, error.problem)}
        if isinstance(image, Image.Image):
            image = v2.functional.pil_to_tensor(image)
        if not isinstance(image, Tensor):
            last = type(self.transforms[-1]).__name__ if self.transforms else 'the source'
            raise ConfigError(
                f'dataset.transforms end with a {type(image).__name__}, of {last}; the last must return one image, a tensor '
                '(C, H, W) or PIL image'
            )
        return Sample({'inputs': image, 'targets': int(target)}, self._name(index))

    def _transform(self, image: Any, index: int) -> Any:
        for place, transform in enumerate(self.transforms):
            try:
                image = transform(image)
            except MemoryError:
                raise
            except Exception as error:  # a transform raises whatever it likes
                raise BadImageError(
                    self._name(index),
                    f'fails in transforms.{place} ({type(transform).__name__}): {_reason(error)}',
                    'mend the transform, mend or remove the image',
                ) from error
        return image

    def _name(self, index: int) -> str:
        return getattr(self.source, 'name', 'image {}'.format)(index)


def _reason(error: Exception) -> str:
    """One line about an error, with the line of code where it is not an installed package's."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = '' if 'site-packages' in frame.filename else f' ({Path(frame.filename).name}, line {frame.lineno})'
    return one_line(f'{type(error).__name__}: {error}', 240).removesuffix(': ') + place


def _own_copy(image: Any) -> Any:
    """A copy that a transform may write into, or whoever gets the item: a source may hand out what it keeps."""
    if isinstance(image, Tensor):
        return image.clone()
    return image.copy() if hasattr(image, 'copy') else copy.deepcopy(image)


def check_labels(labels: Sequence[int], num_classes: int, name: Callable[[int], str]) -> None:
    """Refuse a class index that is negative or not below the number of classes.

    Args:
        labels: Class indices.
        num_classes: The number of classes.
        name: Returns what the image at a place of ``labels`` is called.

    Raises:
        BadImageError: There is such a class index.
    """
    for place, label in enumerate(labels):
        if not 0 <= label < num_classes:
            raise BadImageError(name(place), f'has the label {label}, but num_classes is {num_classes}')


def class_difference(classes: Sequence[Any], others: Sequence[Any]) -> tuple[int, str, str] | None:
    """The first class index that means two things.

    Args:
        classes: Names by index, which are compared in one Unicode form.
        others: The same of other data.

    Returns:
        The index, and for a message its name in each or ``'absent'``; ``None`` if there is none.
    """
    for index, names in enumerate(zip_longest(classes, others)):
        ours, theirs = (None if name is None else composed(str(name)) for name in names)
        if ours != theirs:
            one, other = ('absent' if name is None else repr(name) for name in (ours, theirs))
            return index, one, other
    return None


class TensorImages(Sequence[tuple[Tensor, int]]):
    """Images of one size, decoded once and kept in memory.

    Args:
        images: uint8, (N, C, H, W).
        targets: (N,), class indices.
        bad: By index, the name and the problem of images that cannot be used.
        names: What messages call each image; ``None`` for its number.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        bad: Mapping[int, tuple[str, str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        assert images.dtype == torch.uint8 and len(images) == len(targets)
        self.images = images
        self.targets = targets.tolist()
        self.bad = dict(bad or {})
        self.names = names

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:  # type: ignore[override]
        if index in self.bad:
            raise BadImageError(*self.bad[index])
        return self.images[index], self.targets[index]

    def name(self, index: int) -> str:
        """What messages call an image."""
        return f'image {index}' if self.names is None else self.names[index]


def class_names(dataset: Any) -> list[str] | None:
    """Names of the classes of a dataset that says so in its ``metainfo``, else ``None``."""
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')
