"""Functions that a data loader's config names."""

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from motivation.errors import ConfigError
from motivation.registry import FUNCTIONS
from motivation.signals import ignore_signals


@FUNCTIONS.register_module()
def init_worker(worker_id: int) -> None:
    """Prepare a data-loading worker: signals are the main process's, random numbers are torch's.

    Python and numpy are seeded from torch's seed, which differs by epoch and worker; MMEngine's own
    function gives a worker the same random numbers in every epoch. Training samples are seeded again,
    by :class:`~motivation.datasets.seeded.SeededDataset`.
    """
    ignore_signals()
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


@FUNCTIONS.register_module()
def collate_images(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack images to a batch.

    Args:
        samples: Items of an :class:`~motivation.datasets.ImageDataset`.

    Returns:
        ``'inputs'``: (N, C, H, W); ``'targets'``: (N,).

    Raises:
        ConfigError: The images have different sizes.
    """
    sizes = {tuple(sample['inputs'].shape) for sample in samples}
    if len(sizes) > 1:
        raise ConfigError(
            f'images of one batch have different sizes, {" and ".join(map(str, sorted(sizes)[:2]))}; give the dataset '
            "transforms that make them one, such as transforms=[dict(type='Resize', size=[224, 224])]"
        )
    return default_collate(samples)
