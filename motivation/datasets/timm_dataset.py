"""Image folders, tars of images and everything else that timm.data.create_dataset opens by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from motivation.datasets.class_list import read_classes, renumber
from motivation.datasets.decoded_images import DecodedImages, kept_in_memory, readable
from motivation.datasets.decoding import Decoder, DecoderName
from motivation.datasets.image_dataset import ImageDataset
from motivation.datasets.image_files import composed
from motivation.datasets.opening import open_images
from motivation.datasets.stream_images import StreamImages
from motivation.datasets.stream_lanes import SampleStream
from motivation.errors import ArgumentError, shortened
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
        classes: Class names in the order in which they are numbered: a list, a file with one name a line, or a folder
            whose subfolders are the classes, such as the training split for a validation split that lacks some. Classes
            of the data are found in it by name; names that are only numbers from 0, as of shards, by number. A class of
            the data that is not in it is an error. ``None`` (default) for the classes of the data alone.
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
        classes: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        given = None if classes is None else read_classes(classes)
        opened = open_images(root, name, split, image_mode, in_memory, kwargs)
        decode = Decoder(decoder, image_mode)
        source: Any
        if isinstance(opened, SampleStream):
            source, found = StreamImages(opened, decode, shuffle_buffer), opened.classes
            if given is not None and renumber(found, given, repr(root)) != [*range(len(given))]:
                raise ArgumentError(
                    'classes',
                    f'is another list than that of the stream, {shortened(found)}; leave it out, or give the same names',
                )
        else:
            named = _named(opened)
            order = None if given is None or named is None else renumber(named, given, repr(root))
            converted = DecodedImages(opened, decode, order)
            source = kept_in_memory(converted, cache_mib, on_error) or converted
            found = _numbered(source, on_error) if named is None else named
            if given is not None and named is None:
                renumber(found, given, repr(root))
        super().__init__(source, found if given is None else given, transforms, on_error)


def _named(opened: Any) -> list[str] | None:
    """Return the class names, from wherever the format keeps them, or ``None`` if it has none."""
    for owner in (opened, getattr(opened, 'reader', None)):
        for attribute in ('class_to_idx', 'class_name_to_idx'):
            index_of = getattr(owner, attribute, None)
            if index_of:
                return _by_index(index_of)
    return None


def _numbered(source: Sequence[tuple[Any, Any]], on_error: str) -> list[str]:
    """Return the class indices of images as text."""
    return [str(index) for index in range(max(target for _, _, target in readable(source, on_error, {})) + 1)]


def _by_index(index_of: Mapping[Any, int]) -> list[str]:
    """Return the name of every class index: names of one index are joined by ``/``, a missing one is its number."""
    names: dict[int, list[str]] = {}
    for name, index in index_of.items():
        names.setdefault(int(index), []).append(composed(str(name)))
    return ['/'.join(names.get(index, [str(index)])) for index in range(max(names) + 1)]
