"""Random augmentation that depends only on the seed and the position in the run, not on what ran before."""

from typing import Any

from torch.utils.data import Dataset

from motivation.datasets.loading import Batch, Samples
from motivation.datasets.places import PlacedIndex
from motivation.utils.random_state import seed_everything


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
