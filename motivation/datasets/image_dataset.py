"""The form in which every dataset hands out images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from motivation.registry import TRANSFORMS


class ImageDataset(Dataset):
    """Images with class labels, transformed when asked for.

    Legend: C channels, H x W pixels, K classes.

    Args:
        source: Pairs of an image (PIL, or uint8 tensor (C, H, W)) and a class index.
        classes: K names.
        transforms: Configs of transforms, applied in order.

    Attributes:
        metainfo: ``'classes'``: the K names.
    """

    def __init__(
        self, source: Sequence[tuple[Any, int]], classes: Sequence[str], transforms: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.source = source
        self.metainfo = {'classes': list(classes)}
        self.transforms = [TRANSFORMS.build(transform) for transform in transforms]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One image.

        Returns:
            ``'inputs'``: tensor (C, H, W), uint8 on the scale 0 to 255 or float on the scale 0 to
            1; ``'targets'``: class index.
        """
        image, target = self.source[index]
        for transform in self.transforms:
            image = transform(image)
        if not isinstance(image, Tensor):
            image = v2.functional.pil_to_tensor(image)
        return {'inputs': image, 'targets': int(target)}


class TensorImages(Sequence[tuple[Tensor, int]]):
    """Images of one size, decoded once and kept in memory.

    Args:
        images: uint8, (N, C, H, W).
        targets: (N,), class indices.
    """

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        assert images.dtype == torch.uint8 and len(images) == len(targets)
        self.images = images
        self.targets = targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.images[index], self.targets[index]
