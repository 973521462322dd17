"""Seeding and restoring the random states of Python, numpy and torch."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(*key: int) -> None:
    """Seed Python, numpy and torch with independent numbers derived from a key of integers.

    Args:
        *key: Integers, at least 0, that together identify a point in the run.
    """
    python_seed, numpy_seed, torch_seed = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(python_seed))
    np.random.seed(numpy_seed)
    # Without a device torch.manual_seed does nothing more, but formats the stack for each kind of device that may follow.
    seed_torch = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
    seed_torch(int(torch_seed))


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the random states of Python, numpy and torch (CPU) on exit."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
