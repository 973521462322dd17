import random
from types import SimpleNamespace

import numpy as np
import torch

from motivation.hooks import IterationSeedHook


def draws(seed, iteration, rank=0):
    IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration, rank=rank), 0)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_randomness_is_a_function_of_seed_iteration_and_rank():
    first = draws(0, 3)
    torch.rand(100)  # whatever was drawn in between
    assert draws(0, 3) == first
    for other in (draws(1, 3), draws(0, 4), draws(0, 3, rank=1)):
        assert all(a != b for a, b in zip(other, first, strict=True))
