"""Epochs of fewer samples than the data set has, taken from all of it."""

import math
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from motivation.errors import ArgumentError


class SpreadSampler(Sampler):
    """A sampler that yields part of what another yields in an epoch, from all of the data set.

    Of an order that the other shuffles these are the first samples, a new random part in every epoch, and any number of
    processes draws the same. Of any other order they are spread evenly from its first sample to its last.

    Args:
        sampler: The other sampler; its other attributes, such as ``epoch``, are available on this one.
        num_batch_per_epoch: Batches of an epoch in each process.
        batch_size: Samples of a batch.
        drop_last: Whether an incomplete last batch is left out. Default: ``False``.

    Raises:
        ArgumentError: The other sampler has too few samples.
    """

    def __init__(self, sampler: Any, num_batch_per_epoch: int, batch_size: int, drop_last: bool = False) -> None:
        self.sampler = sampler
        self._samples = min(num_batch_per_epoch * batch_size, len(sampler))
        most = len(sampler) // batch_size if drop_last else math.ceil(len(sampler) / batch_size)
        if num_batch_per_epoch > most:
            raise ArgumentError(
                'num_batch_per_epoch',
                f'is {num_batch_per_epoch}, and an epoch has {len(sampler):,} samples, which make {most:,} '
                f'batches; lower it, or leave it out for all of them',
            )

    def __iter__(self) -> Iterator[Any]:
        total = len(self.sampler)
        first = getattr(self.sampler, 'shuffle', False)
        places = (number if first else number * total // self._samples for number in range(self._samples))
        due = next(places, None)
        for place, index in enumerate(self.sampler):
            if place == due:
                yield index
                due = next(places, None)
                if due is None:  # a sampler may go on beyond its length
                    return

    def __len__(self) -> int:
        return self._samples

    def __getattr__(self, name: str) -> Any:
        if name == 'sampler':  # unpickling asks for attributes before any exists
            raise AttributeError(name)
        return getattr(self.sampler, name)


def drawn_in_an_epoch(loader: DataLoader) -> int | None:
    """Return the number of samples that a process draws in an epoch, or ``None`` if the epoch is not shortened."""
    samplers = loader.sampler, getattr(loader.batch_sampler, 'sampler', None)
    return next((len(sampler) for sampler in samplers if isinstance(sampler, SpreadSampler)), None)
