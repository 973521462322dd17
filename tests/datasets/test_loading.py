import random

import numpy as np
import pytest
import torch

from motivation.datasets import collate_images, init_worker
from motivation.errors import ConfigError


def test_worker_seeds_python_and_numpy_from_torch():
    def draws(seed):
        torch.manual_seed(seed)
        init_worker(0)
        return random.random(), np.random.rand()

    assert draws(2**40 + 1) == draws(2**40 + 1)
    assert all(a != b for a, b in zip(draws(1), draws(2), strict=True))


def test_images_of_different_sizes_ask_for_a_resize():
    samples = [{'inputs': torch.zeros(3, side, 4, dtype=torch.uint8), 'targets': side} for side in (4, 6)]
    with pytest.raises(ConfigError, match=r"different sizes, \(3, 4, 4\) and \(3, 6, 4\); .*type='Resize'"):
        collate_images(samples)
    batch = collate_images(samples[:1] * 2)
    assert batch['inputs'].shape == (2, 3, 4, 4) and batch['targets'].tolist() == [4, 4]


def test_samples_that_are_tuples_raise_with_a_way_out():
    with pytest.raises(ConfigError, match=r"^the dataset's samples are tuples, and the default collate_fn takes dicts"):
        collate_images([(torch.zeros(1, 2, 2), 0)])
