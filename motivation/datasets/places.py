"""The positions of samples in a run."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Sampler


class PlacedIndex(int):
    """The index of a sample, with its position in the run.

    Attributes:
        place: Epoch, and position of the sample in that epoch, both from 0.
    """

    place: tuple[int, int]

    @classmethod
    def at(cls, index: int, epoch: int, number: int) -> 'PlacedIndex':
        """Return ``index`` as the sample at position ``number`` of epoch ``epoch``."""
        placed = cls(index)
        placed.place = epoch, number
        return placed


class PlacedSampler(Sampler[PlacedIndex]):
    """A sampler that adds positions to the indices of another and can start in the middle of an epoch.

    Args:
        sampler: The other sampler. It has an attribute ``epoch`` if its order changes from epoch to epoch.

    Attributes:
        begin: Number of samples to leave out at the start of the next epoch; reset to 0 when that epoch starts.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.begin = 0

    def __iter__(self) -> Iterator[PlacedIndex]:
        begin, self.begin = self.begin, 0
        epoch = getattr(self.sampler, 'epoch', 0)
        # An infinite sampler does not stop at its length, but an epoch does.
        for number, index in enumerate(islice(self.sampler, begin, len(self.sampler)), begin):
            yield PlacedIndex.at(index, epoch, number)

    def __len__(self) -> int:
        return len(self.sampler)
