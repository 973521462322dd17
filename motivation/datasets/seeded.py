"""Random augmentation that depends only on the seed and the position in the run, not on what ran before."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Dataset, Sampler

from motivation.datasets.loading import Batch, Samples
from motivation.utils.random_state import seed_everything


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


class SeededDataset(Dataset):
    """A dataset wrapper that seeds each batch from the seed of the run and the position of its first sample.

    Augmentation is therefore independent of the number of workers and of where in the run they start.

    Args:
        dataset: The wrapped dataset; its other attributes are available on the wrapper.
        seed: Integers that identify the run and this process.
    """

    def __init__(self, dataset: Any, seed: tuple[int, ...]) -> None:
        self.dataset = dataset
        self.seed = seed

    @property
    def metainfo(self) -> Any:
        """What the dataset says of itself, such as the names of its classes; empty by default."""
        return getattr(self.dataset, 'metainfo', {})

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> Samples | Batch:
        """Return the samples of one batch; the data loader calls this instead of ``__getitem__``."""
        if isinstance(indices[0], PlacedIndex):
            seed_everything(*self.seed, *indices[0].place)
        together = getattr(self.dataset, '__getitems__', None)
        samples = together(indices) if together else [self.dataset[index] for index in indices]
        return samples if isinstance(samples, Batch) else Samples(samples, indices)

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # unpickling asks for attributes before any exists
            raise AttributeError(name)
        return getattr(self.dataset, name)
