"""Everything that timm.data.create_dataset opens by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.data import create_dataset
from torch.utils.data import IterableDataset
from torchvision.transforms import v2

from motivation.datasets.image_dataset import ImageDataset, TensorImages
from motivation.errors import ConfigError
from motivation.registry import DATASETS


@DATASETS.register_module()
class TimmDataset(ImageDataset):
    """Image folders, torchvision's sets and the hubs' formats, by name.

    Args:
        root: Folder of the data, or a tar of images.
        name: As of :func:`timm.data.create_dataset`: ``''`` for a folder with one subfolder a class,
            ``'torch/cifar10'`` for torchvision's, ``'hfds/<owner>/<name>'`` for the Hugging Face hub.
        split: Part of the data, such as ``'train'``; of a folder, its subfolder of that name.
        transforms: Configs of transforms, applied in order.
        image_mode: PIL mode that images are converted to: ``'RGB'``, or ``'L'`` for one channel.
        cache_mib: Images that all have one size and together fit into so many MiB are decoded once
            and kept in memory; 0 decodes every time.
        **kwargs: Further arguments of :func:`timm.data.create_dataset` (``download``,
            ``class_map``, ...).

    Raises:
        ConfigError: There is no data at ``root``, or timm does not open it.

    Example:
        >>> dataset = dict(type='TimmDataset', root='data/cifar10', split='train')
    """

    def __init__(
        self,
        root: str,
        name: str = '',
        split: str = 'train',
        transforms: Sequence[dict[str, Any]] = (),
        image_mode: str = 'RGB',
        cache_mib: int = 1024,
        **kwargs: Any,
    ) -> None:
        opened = _open(root, name, split, image_mode, kwargs)
        converted = _Converted(opened, image_mode)
        source = _cache(converted, cache_mib) or converted
        super().__init__(source, _classes(opened, source), transforms)


class _Converted(Sequence[tuple[Any, int]]):
    """The images of a timm dataset as PIL images of one mode."""

    def __init__(self, opened: Any, image_mode: str) -> None:
        # What can only be iterated is read into memory, because an epoch draws images in any order.
        self.opened = list(opened) if isinstance(opened, IterableDataset) else opened
        self.image_mode = image_mode

    def __len__(self) -> int:
        return len(self.opened)

    def __getitem__(self, index: int) -> tuple[Any, int]:  # type: ignore[override]
        image, target = self.opened[index]
        return image.convert(self.image_mode), int(target)


def _open(root: str, name: str, split: str, image_mode: str, kwargs: dict[str, Any]) -> Any:
    advice = 'mend the dataset.root of the data loader, or see the README of the config for how to get the data'
    if not isinstance(root, str):
        raise ConfigError(f'dataset.root is {root!r}; it must be a path')
    is_folder = '/' not in name
    if is_folder and name not in ('', 'folder'):
        raise ConfigError(f"dataset.name is {name!r}; it must be '' for image folders, or like 'torch/cifar10'")
    if is_folder and not Path(root).exists():
        raise ConfigError(f'dataset.root {root!r} does not exist; {advice}')
    if is_folder and Path(root).is_dir() and split and not (Path(root) / split).is_dir():
        raise ConfigError(f'dataset.split is {split!r}, but {root!r} has no such subfolder; {advice}')
    try:
        opened = create_dataset(name, root=root, split=split, input_img_mode=image_mode, **kwargs)
    except ImportError as error:
        raise ConfigError(
            f'dataset.name {name!r} needs a package that is missing: {error}; install it with pip'
        ) from error
    except Exception as error:  # every format raises its own
        reason = ' '.join(str(error).split())
        raise ConfigError(f'dataset {name or "folder"!r} at root {root!r} does not open: {reason}; {advice}') from error
    if not isinstance(opened, IterableDataset) and len(opened) == 0:
        raise ConfigError(f'dataset.root {root!r} holds no images of split {split!r}; {advice}')
    return opened


def _cache(source: _Converted, cache_mib: int) -> TensorImages | None:
    """Decode all images if they have one size and fit, else ``None``."""
    first = v2.functional.pil_to_tensor(source[0][0])
    if len(source) * first.numel() > cache_mib * 2**20:
        return None
    images = torch.empty((len(source), *first.shape), dtype=torch.uint8)
    targets = torch.empty(len(source), dtype=torch.int64)
    for index, (image, target) in enumerate(source):
        pixels = v2.functional.pil_to_tensor(image)
        if pixels.shape != first.shape:
            return None
        images[index], targets[index] = pixels, target
    return TensorImages(images, targets)


def _classes(opened: Any, source: Sequence[tuple[Any, int]]) -> list[str]:
    """Names of the classes, from wherever the format keeps them; numbers where it keeps none."""
    for owner in (opened, getattr(opened, 'reader', None)):
        for attribute in ('class_to_idx', 'class_name_to_idx'):
            index_of = getattr(owner, attribute, None)
            if index_of:
                return sorted(index_of, key=index_of.__getitem__)
    targets = source.targets if isinstance(source, TensorImages) else [target for _, target in source]
    return [str(index) for index in range(max(targets) + 1)]
