"""Handwritten digits that come with scikit-learn: nothing to download."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from motivation.datasets.image_dataset import ImageDataset, TensorImages
from motivation.registry import DATASETS
from motivation.utils.arguments import checked


@DATASETS.register_module()
class DigitsDataset(ImageDataset):
    """1,797 grey images of 8 x 8 pixels in 10 classes, split 80 to 20 by class: 1,437 and 360.

    Source: :func:`sklearn.datasets.load_digits`; its grey levels 0 to 16 become 0 to 255.

    Args:
        split: ``'train'`` or ``'test'``.
        transforms: Configs of transforms, applied in order.

    Raises:
        ConfigError: ``split`` is neither.

    Example:
        >>> dataset = dict(type='DigitsDataset', split='train')
    """

    @checked
    def __init__(self, split: Literal['train', 'test'], transforms: Sequence[dict[str, Any]] = ()) -> None:
        # Imported here, for it takes a second that no other data set should cost.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        parts = train_test_split(digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
        images, targets = parts[0::2] if split == 'train' else parts[1::2]
        pixels = torch.from_numpy(np.round(images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
        source = TensorImages(pixels, torch.from_numpy(targets))
        super().__init__(source, [str(name) for name in digits.target_names], transforms)
