"""Everything that timm.data.create_dataset opens by name."""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError
from timm.data import ImageDataset as TimmImages
from timm.data import create_dataset
from timm.data.readers.class_map import load_class_map
from torch.utils.data import IterableDataset
from torchvision.transforms import v2

from motivation.datasets.image_dataset import BadImageError, ImageDataset, TensorImages
from motivation.datasets.image_files import ImageFiles, composed
from motivation.datasets.image_folder import open_folder, open_tar
from motivation.errors import ArgumentError, ConfigError
from motivation.registry import DATASETS
from motivation.utils.arguments import checked

# Torchvision's reader of image folders has the classes that ours has, and takes the root where a split is missing.
_FOLDERS = ('torch/folder', 'torch/image_folder')

# Arguments of create_dataset that say nothing about folders, with the values at which they may stand.
_UNUSED = {name: parameter.default for name, parameter in inspect.signature(create_dataset).parameters.items()}


@DATASETS.register_module()
class TimmDataset(ImageDataset):
    """Image folders, torchvision's sets and the hubs' formats, by name.

    Of a folder or tar, every file that Pillow reads is an image; hidden files are not. What is passed over
    is counted by extension in a warning, which also names images outside of class folders and classes
    without images; these keep their number. Classes are numbered in natural order of their names.

    An image is turned upright as its EXIF data say and converted to ``image_mode``: colour to grey by
    luma, CMYK and palettes to their colours, black and white to 0 and 255, 16-bit grey by its upper 8
    bits; transparency is dropped. Of torchvision's sets and what can only be iterated, the images are
    taken as these formats decode them.

    An unreadable image (truncated, empty, no image, a dangling link, a decompression bomb, grey levels
    of no known scale) is an error that names it, or with ``on_error='skip'`` left out of its batch. It
    keeps its place in the dataset, so that the number of batches does not depend on it; a batch that
    it leaves empty is an error.

    Args:
        root: Folder of the data, or a tar of images.
        name: ``''`` for a folder with one subfolder a class, or a tar of such a folder, else as of
            :func:`timm.data.create_dataset`: ``'torch/cifar10'`` for torchvision's,
            ``'hfds/<owner>/<name>'`` for the Hugging Face hub.
        split: Part of the data, such as ``'train'``; of a folder, its subfolder of that name, whose folders are
            the classes, with all that lies in them. A tar without folders of splits is taken whole, with a warning.
        transforms: Configs of transforms, applied in order.
        image_mode: PIL mode that images are converted to: ``'RGB'``, or ``'L'`` for one channel.
        cache_mib: Images that all have one size and together fit into so many MiB are decoded once
            and kept in memory, unreadable ones found at once; 0 decodes every time.
        on_error: At an unreadable image, or one whose label is no class: ``'raise'`` an error, or
            ``'skip'`` the image.
        **kwargs: Further arguments of :func:`timm.data.create_dataset` (``download``, ...); of a folder or
            tar ``class_map`` (class index by folder, or a file of it), ``input_key`` (extensions of images,
            such as ``'.png;.jpg'``, or a list of them) and ``search_split`` (``False`` takes the classes of ``root`` itself).

    Raises:
        ConfigError: There is no data at ``root``, timm does not open it, or an image is unreadable.

    Example:
        >>> dataset = dict(type='TimmDataset', root='data/cifar10', split='train')
    """

    @checked
    def __init__(
        self,
        root: str,
        name: str = '',
        split: str = 'train',
        transforms: Sequence[dict[str, Any]] = (),
        image_mode: str = 'RGB',
        cache_mib: int = 1024,
        on_error: Literal['raise', 'skip'] = 'raise',
        **kwargs: Any,
    ) -> None:
        opened = _open(root, name, split, image_mode, kwargs)
        converted = _Converted(opened, image_mode)
        source = _cache(converted, cache_mib, on_error) or converted
        super().__init__(source, _classes(opened, source, on_error), transforms, on_error)


class _Converted(Sequence[tuple[Any, int]]):
    """The images of a timm dataset as PIL images of one mode."""

    def __init__(self, opened: Any, image_mode: str) -> None:
        # What can only be iterated is read into memory, because an epoch draws images in any order.
        self.opened = _read_all(opened) if isinstance(opened, IterableDataset) else opened
        self.image_mode = image_mode

    def __len__(self) -> int:
        return len(self.opened)

    def __getitem__(self, index: int) -> tuple[Any, int]:  # type: ignore[override]
        try:
            image, target = self._read(index)
            return _convert(image, self.image_mode), -1 if target is None else int(target)
        except Exception as error:  # every decoder raises its own
            raise BadImageError(self.name(index), f'is unreadable: {_reason(error)}') from error

    def _read(self, index: int) -> tuple[Any, Any]:
        if not isinstance(self.opened, TimmImages):
            return self.opened[index]
        # Not by timm's own dataset, which puts the next image in the place of an unreadable one.
        file, target, *_ = self.opened.reader[index]
        with file:
            image = Image.open(file)
            image.load()
        return image, target

    def name(self, index: int) -> str:
        """What messages call an image: its file where it has one, else its number."""
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
        raise BadImageError(f'image {len(images)}', f'is unreadable: {_reason(error)}') from error
    return images


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """An image upright and in another mode."""
    file_format = image.format
    image = ImageOps.exif_transpose(image)  # a copy, for a format may keep its images in memory
    if image.mode == mode:
        return image
    if image.mode.startswith('I;16') or (image.mode == 'I' and file_format == 'PPM'):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow would clip at 255
    if image.mode in ('I', 'F'):
        raise ValueError(f'its grey levels, of mode {image.mode!r}, have no known scale: save them with 8 or 16 bits')
    image.info.pop('transparency', None)  # or Pillow warns that it drops it
    return image.convert(mode)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return 'it is empty or no image'  # Pillow's own message has an address in it
    return ' '.join(str(getattr(error, 'strerror', None) or error).split()) or type(error).__name__


def _open(root: str, name: str, split: str, image_mode: str, kwargs: dict[str, Any]) -> Any:
    advice = 'correct it, or see the README of the config for how to get the data'
    is_folder = '/' not in name or name.lower() in _FOLDERS
    if is_folder and name.lower() not in ('', 'folder', *_FOLDERS):
        raise ArgumentError('name', f"is {name!r}; give '' for image folders, or a name like 'torch/cifar10'")
    if is_folder and not Path(root).exists():
        raise ArgumentError('root', f'{root!r} does not exist; {advice}')
    has_splits = is_folder and Path(root).is_dir() and split and kwargs.get('search_split', True)
    if has_splits and not (Path(root) / split).is_dir():
        raise ArgumentError('split', f'is {split!r}, but {root!r} has no such subfolder; {advice}')
    try:
        if is_folder:
            return _open_files(root, split, **kwargs)
        opened = create_dataset(name, root=root, split=split, input_img_mode=image_mode, **kwargs)
    except ConfigError:
        raise
    except ImportError as error:
        raise ArgumentError(
            'name', f'{name!r} needs a package that is missing: {error}; install it with pip'
        ) from error
    except Exception as error:  # every format raises its own
        reason = ' '.join(str(error).split())
        raise ArgumentError('root', f'{root!r} does not open as {name or "folder"!r}: {reason}; {advice}') from error
    if not isinstance(opened, IterableDataset) and len(opened) == 0:
        raise ArgumentError('root', f'{root!r} holds no images of split {split!r}; {advice}')
    return opened


def _open_files(
    root: str, split: str, class_map: Any = None, input_key: Any = None, search_split: bool = True, **others: Any
) -> ImageFiles:
    """Image folders and tars, by readers of our own: timm's take the innermost folder for the class."""
    for argument, value in others.items():
        if value is not None and value != _UNUSED.get(argument):
            raise ArgumentError(
                argument,
                f'is {value!r}, which image folders do not take; leave it out: there are class_map, '
                'input_key and search_split',
            )
    numbers = load_class_map(class_map, root) if class_map else None
    extensions = _extensions(input_key) if input_key else None
    if Path(root).is_dir():
        folder = str(Path(root) / split) if search_split and split else root
        images = open_folder(folder, numbers, extensions)
    elif root.lower().endswith('.tar'):
        folder, images = root, open_tar(root, split if search_split else '', numbers, extensions)
    else:
        raise ArgumentError('root', f'{root!r} is no folder and no .tar; unpack it, and name the folder')
    if images.remarks:
        print_log(f'{folder!r}: {"; ".join(images.remarks)}', 'current', logging.WARNING)
    return images


def _extensions(input_key: Any) -> list[str]:
    """Extensions in lower case with the dot."""
    names = input_key.split(';') if isinstance(input_key, str) else input_key
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ArgumentError('input_key', f"must be like '.png;.jpg', or a list of extensions, got {input_key!r}")
    return [f'.{name.strip().lower().removeprefix(".")}' for name in names if name.strip()]


def _cache(source: _Converted, cache_mib: int, on_error: str) -> TensorImages | None:
    """Decode all images if they have one size and fit, else ``None``."""
    images: torch.Tensor | None = None
    targets = torch.zeros(len(source), dtype=torch.int64)
    bad: dict[int, tuple[str, str]] = {}
    for index, image, target in _readable(source, on_error, bad):
        pixels = v2.functional.pil_to_tensor(image)
        if images is None:
            if len(source) * pixels.numel() > cache_mib * 2**20:
                return None
            images = torch.empty((len(source), *pixels.shape), dtype=torch.uint8)
        if pixels.shape != images.shape[1:]:
            return None
        images[index], targets[index] = pixels, target
    if images is None:
        raise ArgumentError(
            'root', f'holds {len(source)} images of which none is readable: {" ".join(bad[0])}; give another'
        )
    return TensorImages(images, targets, bad, [source.name(index) for index in range(len(source))])


def _readable(
    source: Sequence[tuple[Any, int]], on_error: str, bad: dict[int, tuple[str, str]]
) -> Iterator[tuple[int, Any, int]]:
    """Index, image and class index of each readable image; name and problem of the others go into ``bad``."""
    for index in range(len(source)):
        try:
            image, target = source[index]
        except BadImageError as error:
            if on_error == 'raise':
                raise
            bad[index] = error.image, error.problem
        else:
            yield index, image, target


def _classes(opened: Any, source: Sequence[tuple[Any, int]], on_error: str) -> list[str]:
    """Names of the classes, from wherever the format keeps them; numbers where it keeps none."""
    for owner in (opened, getattr(opened, 'reader', None)):
        for attribute in ('class_to_idx', 'class_name_to_idx'):
            index_of = getattr(owner, attribute, None)
            if index_of:
                return _by_index(index_of)
    return [str(index) for index in range(max(target for _, _, target in _readable(source, on_error, {})) + 1)]


def _by_index(index_of: Mapping[Any, int]) -> list[str]:
    """The name of every class index; several names of one index are joined, and one without any is a number."""
    names: dict[int, list[str]] = {}
    for name, index in index_of.items():
        names.setdefault(int(index), []).append(composed(str(name)))
    return ['/'.join(names.get(index, [str(index)])) for index in range(max(names) + 1)]
