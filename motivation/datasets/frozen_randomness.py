"""Whether samples are random, which reading them once would repeat in every epoch."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

# Samples of those read together that are read a second time, because a generator of a transform's own is not seen.
TWICE = 8

# About as many images each transform is tried on, to name the random one.
_TRIES = 20


class ReadTogether(Dataset):
    """The samples of a dataset, read in lists, each with what is said about random ones.

    It checks where it reads, so also in a worker process, whose random state the main process does not see.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> tuple[list[Any], str]:
        """Return samples, and :func:`read_samples`'s clause."""
        return read_samples(self.dataset, indices)


def read_samples(dataset: Any, indices: Sequence[int], twice: int = TWICE) -> tuple[list[Any], str]:
    """Read samples, and find whether they are random.

    They are if the generators of torch, numpy or Python have moved, or if one of those that are read a second time
    differs.

    Args:
        dataset: The dataset.
        indices: Which samples.
        twice: How many of them are read a second time, evenly spread. Default: :data:`TWICE`.

    Returns:
        The samples, and the names of the random transforms in a clause; ``''`` if nothing is random.
    """
    before = _random_state()
    together = getattr(dataset, '__getitems__', None)
    samples = list(together(list(indices)) if together else [dataset[index] for index in indices])
    is_random = _random_state() != before
    step = -(-len(samples) // twice) if twice else len(samples) + 1
    again = () if is_random or not twice else range(0, len(samples), step)
    is_random = is_random or any(not _same(dataset[indices[place]], samples[place]) for place in again)
    return samples, _clause(dataset) if is_random else ''


def _clause(dataset: Any) -> str:
    parts = list(_parts(dataset))
    names = dict.fromkeys(name for part in parts for name in _random_transforms(part))
    if names:
        return f'({", ".join(names)}) draw random numbers'
    every = [type(transform).__name__ for part in parts for transform in getattr(part, 'transforms', None) or ()]
    return (
        f'(one of {", ".join(every)}) or the dataset draw random numbers'
        if every
        else 'or the dataset draw random numbers'
    )


def _parts(dataset: Any) -> Iterator[Any]:
    yield dataset
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            yield from _parts(inner)


def _random_transforms(dataset: Any) -> Iterator[str]:
    """Yield the names of the random transforms of an image dataset, tried on images spread over it."""
    source, transforms = getattr(dataset, 'source', ()), getattr(dataset, 'transforms', None) or ()
    for index in range(0, len(source), max(1, len(source) // _TRIES)):
        try:
            image = source[index][0]
            for transform in transforms[getattr(dataset, 'applied', 0) :]:
                before = _random_state()
                made, other = transform(_copy(image)), transform(_copy(image))
                if _random_state() != before or not _same(made, other):
                    yield type(transform).__name__
                image = made
        except Exception:  # an image that cannot be used says nothing here
            continue


def _copy(image: Any) -> Any:
    return image.clone() if isinstance(image, torch.Tensor) else image.copy()


def _same(one: Any, other: Any) -> bool:
    """Return whether two samples or images are equal, as far as they are made of tensors, arrays and images."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if not all(isinstance(value, (torch.Tensor, np.ndarray, Image.Image)) for value in (one, other)):
        return True
    first, second = np.asarray(one), np.asarray(other)
    return np.array_equal(first, second, equal_nan=first.dtype.kind == 'f' and second.dtype.kind == 'f')


def _random_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), state[1].tobytes(), state[2]
