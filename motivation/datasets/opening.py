"""Finding the reader of a dataset by its name: our own for files on the disk, timm's for all else."""

import inspect
import logging
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from timm.data import create_dataset
from timm.data.readers.class_map import load_class_map
from torch.utils.data import IterableDataset

from motivation.datasets.hub_stream import HubStream
from motivation.datasets.image_files import ImageFiles
from motivation.datasets.image_folder import open_folder, open_tar
from motivation.datasets.shards import ShardImages, find_shards
from motivation.datasets.stream_facts import classes_of, total_of
from motivation.datasets.tar_stream import TarStream, find_urls, is_compressed, is_url, known_lengths
from motivation.datasets.tfds_stream import TfdsStream
from motivation.errors import ArgumentError, ConfigError, one_line

# timm's names for torchvision's ImageFolder. Our reader replaces it, because timm falls back to the root in silence
# where the folder of the split is missing.
_FOLDERS = ('torch/folder', 'torch/image_folder')

# Arguments of create_dataset that mean nothing for image folders, with the defaults that are accepted anyway.
_UNUSED = {name: parameter.default for name, parameter in inspect.signature(create_dataset).parameters.items()}

# timm's name for WebDataset shards, 'wds' or 'wds/' and any name, and its prefixes for what it can only iterate over.
_SHARDS, _HUB, _TFDS = 'wds', 'hfids', 'tfds'


def open_images(root: str, name: str, split: str, image_mode: str, in_memory: bool, kwargs: dict[str, Any]) -> Any:
    """Open a dataset with the reader that its name asks for.

    Args:
        root: Folder of the data, or a tar.
        name: ``''`` for a folder or tar of folders, ``'wds'`` for WebDataset shards, else timm's name.
        split: Split of the data.
        image_mode: PIL mode for readers that decode their own images.
        in_memory: Whether timm iterates over what is otherwise a stream.
        kwargs: Further arguments of the reader.

    Returns:
        A dataset, or a :class:`~motivation.datasets.stream_lanes.SampleStream`.

    Raises:
        ConfigError: There are no such data, or an argument is not one of the reader's.
    """
    prefix = name.lower().partition('/')[0]
    advice = 'correct it, or see the README of the config for how to get the data'
    is_folder = ('/' not in name and name.lower() != _SHARDS) or name.lower() in _FOLDERS
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
        if prefix == _SHARDS:
            return _open_shards(root, split, **kwargs)
        if prefix in (_HUB, _TFDS) and not in_memory:
            return _open_stream(prefix, name.partition('/')[2], root, split, **kwargs)
        opened = create_dataset(name, root=root, split=split, input_img_mode=image_mode, **kwargs)
    except ConfigError:
        raise
    except ImportError as error:
        raise ArgumentError('name', f'{name!r} needs a package that is missing: {error}; {_package(prefix)}') from error
    except Exception as error:  # formats raise errors of any type
        reason = one_line(str(error), 400)  # TensorFlow Datasets lists all that there are
        raise ArgumentError('root', f'{root!r} cannot be opened as {name or "folder"!r}: {reason}; {advice}') from error
    if not isinstance(opened, IterableDataset) and len(opened) == 0:
        raise ArgumentError('root', f'{root!r} holds no images of split {split!r}; {advice}')
    return opened


def _open_files(
    root: str, split: str, class_map: Any = None, input_key: Any = None, search_split: bool = True, **others: Any
) -> ImageFiles:
    """Open an image folder or tar with our own readers; timm's take the innermost folder as the class."""
    _refuse(others, 'image folders', 'class_map, input_key and search_split')
    numbers = load_class_map(class_map, root) if class_map else None
    extensions = _extensions(input_key) if input_key else None
    if Path(root).is_dir():
        folder = str(Path(root) / split) if search_split and split else root
        images = open_folder(folder, numbers, extensions)
    elif root.lower().endswith('.tar'):
        folder, images = root, open_tar(root, split if search_split else '', numbers, extensions)
    else:
        raise ArgumentError('root', f'{root!r} is neither a folder nor a .tar; unpack it and give the folder')
    _warn(folder, images.remarks)
    return images


def _open_shards(
    root: str,
    split: str,
    input_key: Any = None,
    target_key: str | None = None,
    num_classes: int | None = None,
    num_samples: int | None = None,
    **others: Any,
) -> ShardImages | TarStream:
    """Open WebDataset shards with our own readers; timm's reads them as streams, which are not resumed exactly."""
    _refuse(others, 'shards', 'input_key, target_key, num_classes and num_samples')
    extensions = _extensions(input_key) if input_key else None
    number = None
    if is_url(root) or any(map(is_url, split.split('::'))):
        shards, number = find_urls(root, split)
    else:
        files = find_shards(root, split)
        if not any(is_compressed(str(file)) for file in files):
            _refuse({'num_samples': num_samples}, 'shards on the disk', 'input_key, target_key and num_classes')
            images = ShardImages(files, target_key, extensions, num_classes)
            _warn(root, images.remarks)
            return images
        shards = [str(file) for file in files]
    lengths = known_lengths(root, shards)
    total = total_of(lengths, num_samples, number)
    return TarStream(shards, lengths, total, classes_of(None, num_classes), target_key, extensions)


def _open_stream(prefix: str, name: str, root: str, split: str, **kwargs: Any) -> HubStream | TfdsStream:
    """Open a dataset that timm can only iterate over."""
    reader: Any = HubStream if prefix == _HUB else TfdsStream
    known = list(inspect.signature(reader).parameters)[3:]
    _refuse({key: value for key, value in kwargs.items() if key not in known}, 'streams', ', '.join(known))
    return reader(name, root, split, **{key: value for key, value in kwargs.items() if key in known})


def _package(prefix: str) -> str:
    """Return what to install for a dataset whose package is missing."""
    extra = {_HUB: 'streams', _SHARDS: 'streams', _TFDS: 'tfds'}.get(prefix)
    return f"run pip install 'motivation[{extra}]'" if extra else 'install it with pip'


def _refuse(others: dict[str, Any], what: str, known: str) -> None:
    """Refuse arguments that a reader of ours does not take, unless they are timm's defaults."""
    for argument, value in others.items():
        if value is not None and value != _UNUSED.get(argument):
            raise ArgumentError(argument, f'is {value!r}, which {what} do not take; leave it out, they take {known}')


def _warn(place: str, remarks: list[str]) -> None:
    if remarks:
        print_log(f'{place!r}: {"; ".join(remarks)}', 'current', logging.WARNING)


def _extensions(input_key: Any) -> list[str]:
    """Return the extensions of ``dataset.input_key`` as a list, in lower case with the dot."""
    names = input_key.split(';') if isinstance(input_key, str) else input_key
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ArgumentError('input_key', f"must be like '.png;.jpg', or a list of extensions, got {input_key!r}")
    return [f'.{name.strip().lower().removeprefix(".")}' for name in names if name.strip()]
