import random
import traceback

import numpy as np
import torch

from motivation.utils.random_state import seed_everything


def test_every_generator_is_seeded_with_a_number_of_its_own():
    numbers = np.random.SeedSequence((3, 5)).generate_state(3)
    seed_everything(3, 5)
    drawn = random.random(), np.random.random(), torch.rand(()).item()
    random.seed(int(numbers[0]))
    np.random.seed(numbers[1])
    torch.manual_seed(int(numbers[2]))
    assert drawn == (random.random(), np.random.random(), torch.rand(()).item())


def test_seeding_formats_no_stack_on_a_machine_without_devices(monkeypatch):
    """Which took half a millisecond of every batch."""
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: False)
    monkeypatch.setattr(traceback, 'format_stack', None)
    seed_everything(1)
