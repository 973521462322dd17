import random

import numpy as np
import torch

from motivation.datasets import seed_worker


def test_python_and_numpy_follow_torchs_seed():
    def draws(seed):
        torch.manual_seed(seed)
        seed_worker(0)
        return random.random(), np.random.rand()

    assert draws(2**40 + 1) == draws(2**40 + 1)
    assert all(a != b for a, b in zip(draws(1), draws(2), strict=True))
