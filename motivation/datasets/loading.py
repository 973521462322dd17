"""Functions that a data loader's config names."""

import random

import numpy as np
import torch

from motivation.registry import FUNCTIONS


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed Python and numpy in a data-loader worker from torch's seed, which differs by epoch and worker.

    MMEngine's own function gives a worker the same random numbers in every epoch.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)
