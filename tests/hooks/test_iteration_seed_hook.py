import random
from types import SimpleNamespace

import numpy as np
import torch

from motivation.hooks import EpochSeedHook


def draws(seed, epoch, rank=0):
    EpochSeedHook().before_train_epoch(SimpleNamespace(seed=seed, epoch=epoch, rank=rank))
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_randomness_is_a_function_of_seed_epoch_and_rank():
    first = draws(0, 3)
    torch.rand(100)  # whatever was drawn in between
    assert draws(0, 3) == first
    for other in (draws(1, 3), draws(0, 4), draws(0, 3, rank=1)):
        assert all(a != b for a, b in zip(other, first, strict=True))
