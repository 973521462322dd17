"""The worker initialisation and the collate function of data loaders, and a first batch."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from motivation.datasets.image_dataset import Sample, check_labels
from motivation.datasets.stream_images import stream_of
from motivation.errors import ConfigError
from motivation.registry import FUNCTIONS, look_up
from motivation.utils.batches import noun_of
from motivation.utils.exit_signals import ignore_signals

# Number of images, spread evenly over a dataset, among which first_batch looks for a usable one.
TRIED = 256


@FUNCTIONS.register_module()
def init_worker(worker_id: int) -> None:
    """Ignore signals in a data-loader worker and seed its Python and numpy generators.

    The seed is torch's, which differs by epoch and worker; MMEngine's own function gives a worker the same
    random numbers in every epoch. :class:`~motivation.datasets.seeded.SeededDataset` seeds each training batch
    on top of that.

    Args:
        worker_id: Not used.
    """
    ignore_signals()
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


class Samples(list[Any]):
    """The samples of a batch before they are collated, with their indices in the dataset.

    Args:
        samples: The samples.
        indices: The index of each.
    """

    def __init__(self, samples: Iterable[Any], indices: Sequence[int]) -> None:
        super().__init__(samples)
        self.indices = tuple(indices)


class Batch(dict[str, torch.Tensor]):
    """A batch that records which images it holds and which were skipped, for hooks only.

    Args:
        fields: The contents of the batch.
        skipped: Name and problem of each skipped image.
        labels: A copy of ``'targets'`` in host memory, for a batch on a device, whose labels would have to be waited
            for. Default: none.
        indices: Indices of its samples in the dataset. Default: not known.
        names: Names of its samples. Default: not known.
    """

    def __init__(
        self,
        fields: Mapping[str, torch.Tensor],
        skipped: Sequence[tuple[str, str]],
        labels: torch.Tensor | None = None,
        indices: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(fields)
        self.skipped = tuple(skipped)
        self.labels = labels
        self.indices = None if indices is None else tuple(indices)
        self.names = None if names is None else tuple(names)


@FUNCTIONS.register_module()
def collate_images(samples: list[dict[str, Any]] | Batch) -> Batch:
    """Stack images into a batch, without the skipped ones.

    Args:
        samples: Items of an :class:`~motivation.datasets.ImageDataset`, such as :class:`Samples` that know their
            indices, or the batch of a dataset that makes its own.

    Returns:
        ``'inputs'``: (N, C, H, W); ``'targets'``: class indices, (N,).

    Raises:
        ConfigError: The images have different sizes, or all of them are skipped.
    """
    if isinstance(samples, Batch):
        return samples
    if not isinstance(samples[0], Mapping):
        raise ConfigError(
            f"the dataset's samples are {type(samples[0]).__name__}s, and the default collate_fn takes dicts such as "
            "{'inputs': ..., 'targets': ...}; return these, or give the data loader a collate_fn of your own"
        )
    skipped = [sample['skipped'] for sample in samples if 'skipped' in sample]
    kept = [sample for sample in samples if 'skipped' not in sample]
    if not kept:
        raise ConfigError(
            f"dataset.on_error is 'skip', which leaves nothing of a batch of {len(samples)}: {' '.join(skipped[0])}"
            f'{" and so on" if len(skipped) > 1 else ""}; fix or remove such images, or give a larger batch_size'
        )
    of_size = {tuple(getattr(sample['inputs'], 'shape', ())): sample for sample in kept}
    if len(of_size) > 1:
        examples = (
            f'{size} ({sample.name})' if isinstance(sample, Sample) else str(size)
            for size, sample in sorted(of_size.items())[:2]
        )
        if any(len(size) != 3 for size in of_size):
            raise ConfigError(
                f'samples of one batch have inputs of different shapes, {" and ".join(examples)}; give the data loader a '
                'collate_fn that pads them'
            )
        raise ConfigError(
            f'images of one batch have different sizes, {" and ".join(examples)}; give the dataset '
            "transforms that make them one, such as transforms=[dict(type='Resize', size=[224, 224])]"
        )
    indices = getattr(samples, 'indices', None)
    if indices is not None:
        indices = [index for index, sample in zip(indices, samples, strict=True) if 'skipped' not in sample]
    named = [sample for sample in kept if isinstance(sample, Sample)]
    names = [sample.name for sample in named] if len(named) == len(kept) else None
    if indices is None and names is not None:
        known = [sample.index for sample in named if sample.index is not None]
        indices = known if len(known) == len(kept) else None
    return Batch(default_collate(kept), skipped, indices=indices, names=names)


def collate_of(config: Mapping[str, Any]) -> Callable[[list[Any]], Any]:
    """Return the function that makes the batches of a data loader, as MMEngine builds it.

    Args:
        config: The config of the data loader; without a ``collate_fn`` it is :func:`collate_images`.
    """
    given = config.get('collate_fn', collate_images)
    if callable(given):
        return given
    arguments = dict(given)
    return partial(look_up(FUNCTIONS, arguments.pop('type')), **arguments)


def first_batch(
    dataset: Any, num_classes: int | None = None, collate_fn: Callable[[list[Any]], Any] = collate_images
) -> Any:
    """Return a batch of one: the first image of a dataset that is not skipped.

    Args:
        dataset: An :class:`~motivation.datasets.ImageDataset`, or any dataset whose items ``collate_fn`` takes.
        num_classes: Number of classes to check the label against; ``None`` (default) for no check.
        collate_fn: Makes a batch of a list of items.

    Raises:
        ConfigError: Every image that was tried is skipped, or the label is out of range.
    """
    why, indices = '', spread(dataset, TRIED)
    for index in indices:
        sample = dataset[index]
        if 'skipped' in sample:
            why = why or ' '.join(sample['skipped'])
            continue
        batch = collate_fn([sample])
        if num_classes is not None and isinstance(sample, Mapping) and _is_class(sample.get('targets')):
            name = f'{noun_of(batch)} {index}'
            check_labels([sample['targets']], num_classes, lambda _: name)  # noqa: B023, called at once
        return batch
    raise ConfigError(
        f"dataset.on_error is 'skip', which leaves nothing of {len(indices)} images; fix the data or its transforms: {why}"
    )


def spread(dataset: Any, count: int) -> list[int]:
    """Return the indices of samples spread evenly over a dataset, or of those that are quick to read from a stream.

    Args:
        dataset: A dataset, or a wrapper with its attributes.
        count: Number of indices, or as many as there are samples if these are fewer.
    """
    stream, total = stream_of(dataset), len(dataset)
    count = min(count, total)
    return [number * total // count for number in range(count)] if stream is None else stream.few(count)


def some_at_random(dataset: Any, count: int) -> list[int]:
    """Return the indices of different random samples, or of those that are quick to read from a stream.

    Args:
        dataset: A dataset, or a wrapper with its attributes.
        count: Number of indices, at most that of the samples.
    """
    return torch.randperm(len(dataset))[:count].tolist() if stream_of(dataset) is None else spread(dataset, count)


def _is_class(target: Any) -> bool:
    """Whether a target is one whole number."""
    if isinstance(target, torch.Tensor):
        return target.ndim == 0 and not target.is_floating_point()
    return isinstance(target, Integral)
