"""What every run of a model on fake tensors needs."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor


@contextmanager
def quiet_fake_tensors() -> Iterator[None]:
    """Silence torch's log about operators that do not run on fake tensors; the error is reported anyway."""
    logger = logging.getLogger('torch._subclasses.fake_tensor')
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def asked_device(operator: Any, args: Sequence[Any]) -> torch.device | None:
    """Return the device of a fake tensor if an operator call asks for it, else ``None``.

    Torch asks many times for each operator that a dispatch mode sees, and would dispatch every one of these calls.
    """
    is_asked = operator is torch.ops.prim.device.default and isinstance(args[0], FakeTensor)
    return args[0].fake_device if is_asked else None
