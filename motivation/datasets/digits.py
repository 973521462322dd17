"""scikit-learn's handwritten digits, which need no download."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch

from motivation.datasets.image_dataset import ImageDataset, TensorImages
from motivation.registry import DATASETS
from motivation.utils.arguments import checked


@DATASETS.register_module()
class DigitsDataset(ImageDataset):
    """Handwritten digits: 1,797 greyscale images of 8 x 8 pixels in 10 classes.

    The images of :func:`sklearn.datasets.load_digits`, with their grey levels scaled from 0-16 to 0-255. A fixed
    split, stratified by class, gives 1,437 training and 360 test images.

    Args:
        split: ``'train'`` or ``'test'``.
        transforms: Configs of the transforms, applied in order.

    Raises:
        ConfigError: ``split`` is neither ``'train'`` nor ``'test'``.

    Example:
        >>> dataset = dict(type='DigitsDataset', split='train')
    """

    @checked
    def __init__(self, split: Literal['train', 'test'], transforms: Sequence[dict[str, Any]] = ()) -> None:
        parts, names = _read()
        images, targets = parts[0::2] if split == 'train' else parts[1::2]
        pixels = torch.from_numpy(np.round(images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
        source = TensorImages(pixels, torch.tensor(targets))
        super().__init__(source, names, transforms)


@cache
def _read() -> tuple[list[Any], list[str]]:
    """Read both splits, alternating images and targets of training and test, and the names of the classes."""
    # Imported here because the import takes a second, which other datasets should not pay.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    parts = train_test_split(digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    return parts, [str(name) for name in digits.target_names]
