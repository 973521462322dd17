"""Image folders, tars of images and everything else that timm.data.create_dataset opens by name."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from mmengine.logging import print_log
from PIL import Image
from timm.data import ImageDataset as TimmImages
from torch.utils.data import IterableDataset
from torchvision.transforms import v2

from motivation.datasets.decoding import Decoder, DecoderName, upright
from motivation.datasets.image_dataset import BadImageError, ImageDataset, TensorImages, unreadable
from motivation.datasets.image_files import ImageFiles, composed
from motivation.datasets.opening import open_images
from motivation.datasets.shards import ShardImages
from motivation.datasets.stream_images import StreamImages
from motivation.datasets.stream_lanes import SampleStream
from motivation.errors import ArgumentError
from motivation.registry import DATASETS
from motivation.utils.arguments import Count, checked


@DATASETS.register_module()
class TimmDataset(ImageDataset):
    """Image folders, tars of images, torchvision's datasets and dataset hubs, opened by name.

    In a folder or tar, every file whose extension Pillow decodes is an image, except for hidden files. Other files
    are counted by extension in a warning, which also lists images outside of class folders and classes without
    images; these keep their class index. Classes are numbered in natural order of their names.

    Images are rotated according to their EXIF orientation and converted to ``image_mode``: colour to grey by
    luma, CMYK and palettes to their colours, black and white to 0 and 255, 16-bit grey to its upper 8 bits;
    transparency is dropped. Torchvision's datasets and iterable datasets decode their own images.

    An unreadable image (truncated, empty, not an image, a broken link, a decompression bomb, grey levels of
    unknown scale) raises an error that names it, or is left out of its batch with ``on_error='skip'``. It still
    counts in the length of the dataset, so that the number of batches does not depend on it. A batch that is left
    empty is an error.

    Args:
        root: Folder of the data, or an uncompressed tar of images.
        name: ``''`` (default) for a folder, or tar of a folder, with one subfolder for each class; ``'wds'``
            for WebDataset shards, whose ``split`` is ``'train-{0000..0099}.tar'`` or the like
            (:func:`~motivation.datasets.shards.find_shards`); otherwise the name for
            :func:`timm.data.create_dataset`, such as ``'torch/cifar10'`` for torchvision's or
            ``'hfds/<owner>/<name>'`` for the Hugging Face hub. ``'hfids/...'`` (the hub without a download),
            ``'tfds/...'`` and ``'wds'`` with URLs or compressed shards are streams
            (:class:`~motivation.datasets.stream_images.StreamImages`).
        split: Split of the data, ``'train'`` by default. In a folder, the subfolder of that name, whose subfolders
            are the classes and may be nested. A tar without split folders is used whole, with a warning.
        transforms: Configs of the transforms, applied in order.
        image_mode: PIL mode to convert images to: ``'RGB'`` (default), or ``'L'`` for one channel.
        cache_mib: Memory for decoded images in MiB, 1024 by default. If all images have one size and fit, they
            are decoded once, which also finds unreadable images at the start; 0 decodes them on every access.
        on_error: What to do with an image that is unreadable or whose label is not a class: ``'raise'`` an error
            (default), or ``'skip'`` the image.
        decoder: What decodes images that are read on every access: ``'opencv'`` (default), which gives
            transforms uint8 tensors (C, H, W), as images kept in memory are; ``'pillow'``, which gives them PIL
            images, for transforms that take nothing else; ``'scaled'``, which decodes JPEG files at 1/2, 1/4 or 1/8
            where the first transform, a ``RandomResizedCrop`` or ``Resize``, takes no more. What differs is in
            docs/speed.md. Images kept in memory are tensors of the full size with each.
        in_memory: Whether to read a dataset that timm can only iterate over (``'tfds/...'``, ``'hfids/...'``) into
            memory at the start, whole and decoded; ``False`` (default) reads it as a stream.
        shuffle_buffer: Number of undecoded images of a stream from which each worker draws a random next one; 1,000 by
            default. Without shuffling there is none.
        **kwargs: Further arguments of :func:`timm.data.create_dataset` (``download``, ...). For a folder or tar:
            ``class_map`` (class index by folder name, or a file with it), ``input_key`` (extensions of images,
            such as ``'.png;.jpg'``, or a list of them) and ``search_split`` (``False`` reads the classes
            from ``root`` itself). For shards: ``input_key``, ``target_key`` (the field of the JSON file of a sample
            that holds its class index, instead of its ``.cls`` file), and ``num_classes`` (by default one more than the
            highest class index; a label beyond it is an error about its image). For streams: ``input_key``,
            ``target_key``, ``num_classes`` if the labels have no names, and ``num_samples`` if the data set does not
            state it.

    Raises:
        ConfigError: There are no data at ``root``, timm cannot open them, or an image is unreadable.

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
        decoder: DecoderName = 'opencv',
        in_memory: bool = False,
        shuffle_buffer: Count = 1000,
        **kwargs: Any,
    ) -> None:
        opened = open_images(root, name, split, image_mode, in_memory, kwargs)
        decode = Decoder(decoder, image_mode)
        source: Any
        if isinstance(opened, SampleStream):
            source, classes = StreamImages(opened, decode, shuffle_buffer), opened.classes
        else:
            converted = _Converted(opened, decode)
            source = _cache(converted, cache_mib, on_error) or converted
            classes = _classes(opened, source, on_error)
        super().__init__(source, classes, transforms, on_error)
        if self.transforms and not isinstance(source, TensorImages):
            self.applied = int(decode.take_over(self.transforms[0]))


class _Converted(Sequence[tuple[Any, int]]):
    """The images of a timm dataset in one mode.

    Attributes:
        is_fresh: Whether every access decodes an image, which nothing else then holds.
    """

    def __init__(self, opened: Any, decode: Decoder) -> None:
        self.opened = _read_all(opened) if isinstance(opened, IterableDataset) else opened
        self.decode = decode
        self._complained: set[int] = set()  # images that this process has named
        self.is_fresh = isinstance(opened, (ImageFiles, ShardImages, TimmImages))

    def __len__(self) -> int:
        return len(self.opened)

    def __getitem__(self, index: int) -> tuple[Any, int]:  # type: ignore[override]
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
        return image, -1 if target is None else int(target)

    def _read(self, index: int) -> tuple[Any, Any]:
        if isinstance(self.opened, (ImageFiles, ShardImages)):
            with self.opened.open(index) as image:
                return self.decode(image), self.opened.samples[index][1]
        if not isinstance(self.opened, TimmImages):
            image, target = self.opened[index]
            return upright(image, self.decode.mode), target
        # timm's own dataset is bypassed, because it replaces an unreadable image by the next one.
        file, target, *_ = self.opened.reader[index]
        with file:
            return self.decode(Image.open(file)), target

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


def _cache(source: _Converted, cache_mib: int, on_error: str) -> TensorImages | None:
    """Decode all images into memory, or return ``None`` if they have several sizes or do not fit."""
    images: torch.Tensor | None = None
    targets = torch.zeros(len(source), dtype=torch.int64)
    unreadable: dict[int, tuple[str, str]] = {}
    for index, image, target in _readable(source, on_error, unreadable):
        pixels = image if isinstance(image, torch.Tensor) else v2.functional.pil_to_tensor(image)
        if images is None:
            if len(source) * pixels.numel() > cache_mib * 2**20:
                return None
            images = torch.empty((len(source), *pixels.shape), dtype=torch.uint8)
        if pixels.shape != images.shape[1:]:
            return None
        images[index], targets[index] = pixels, target
    if images is None:
        raise ArgumentError(
            'root', f'holds {len(source)} images of which none is readable: {" ".join(unreadable[0])}; give another'
        )
    return TensorImages(images, targets, unreadable, [source.name(index) for index in range(len(source))])


def _readable(
    source: Sequence[tuple[Any, int]], on_error: str, unreadable: dict[int, tuple[str, str]]
) -> Iterator[tuple[int, Any, int]]:
    """Yield index, image and class index of each readable image; add name and problem of others to ``unreadable``."""
    for index in range(len(source)):
        try:
            image, target = source[index]
        except BadImageError as error:
            if on_error == 'raise':
                raise
            unreadable[index] = error.image, error.problem
        else:
            yield index, image, target


def _classes(opened: Any, source: Sequence[tuple[Any, int]], on_error: str) -> list[str]:
    """Return the class names, from wherever the format keeps them, or the class indices as text if it has none."""
    for owner in (opened, getattr(opened, 'reader', None)):
        for attribute in ('class_to_idx', 'class_name_to_idx'):
            index_of = getattr(owner, attribute, None)
            if index_of:
                return _by_index(index_of)
    return [str(index) for index in range(max(target for _, _, target in _readable(source, on_error, {})) + 1)]


def _by_index(index_of: Mapping[Any, int]) -> list[str]:
    """Return the name of every class index: names of one index are joined by ``/``, a missing one is its number."""
    names: dict[int, list[str]] = {}
    for name, index in index_of.items():
        names.setdefault(int(index), []).append(composed(str(name)))
    return ['/'.join(names.get(index, [str(index)])) for index in range(max(names) + 1)]
