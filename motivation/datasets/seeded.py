"""Samples whose randomness depends on where in the run they are drawn, and on nothing before."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Dataset, Sampler

from motivation.utils.random_state import seed_everything


class PlacedIndex(int):
    """The index of a sample that knows its place in the run.

    Attributes:
        place: Epoch, and number of the sample in that epoch, both from 0.
    """

    place: tuple[int, int]

    @classmethod
    def at(cls, index: int, epoch: int, number: int) -> 'PlacedIndex':
        """The index ``index``, drawn as number ``number`` of epoch ``epoch``."""
        placed = cls(index)
        placed.place = epoch, number
        return placed


class PlacedSampler(Sampler[PlacedIndex]):
    """Another sampler's indices with their places; one epoch can begin within.

    Args:
        sampler: Has ``epoch``, if its order changes from epoch to epoch.

    Attributes:
        begin: Samples of the next epoch that are left out at its beginning; 0 again once it has begun.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.begin = 0

    def __iter__(self) -> Iterator[PlacedIndex]:
        begin, self.begin = self.begin, 0
        epoch = getattr(self.sampler, 'epoch', 0)
        # An epoch ends where the sampler's length says, though the sampler may go on.
        for number, index in enumerate(islice(self.sampler, begin, len(self.sampler)), begin):
            yield PlacedIndex.at(index, epoch, number)

    def __len__(self) -> int:
        return len(self.sampler)


class SeededDataset(Dataset):
    """A dataset that draws the random numbers of a batch from the seed and the place of its first sample.

    So augmentation is the same however many workers load, and wherever in the run they begin.

    Args:
        dataset: Whose attributes it has.
        seed: Whole numbers that tell this run and this process from others.
    """

    def __init__(self, dataset: Any, seed: tuple[int, ...]) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(index)]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples of one batch, as the data loader asks for them."""
        if isinstance(indices[0], PlacedIndex):
            seed_everything(*self.seed, *indices[0].place)
        indices = [int(index) for index in indices]
        together = getattr(self.dataset, '__getitems__', None)
        return together(indices) if together else [self.dataset[index] for index in indices]

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)
