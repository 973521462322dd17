"""A dataset whose samples are on the training device, gathered and augmented a batch at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from motivation.datasets.frozen_randomness import ReadTogether, read_samples
from motivation.datasets.image_dataset import Sample
from motivation.datasets.loading import Batch, Samples, collate_images, init_worker
from motivation.errors import ArgumentError, ConfigError, reason
from motivation.utils.batches import noun_of
from motivation.utils.memory import free_memory, memory_text

# Largest share of the free memory of a device that the samples may take: models and activations need some as well.
SHARE = 0.8

# Samples that are read before they are copied to the device, and seconds between two messages about it.
CHUNK, INTERVAL = 512, 10.0

# What a user can do if the samples cannot be kept on the device.
_ORDINARY = "write type='DataLoader', which reads samples batch by batch"


class DeviceImages(Dataset):
    """A dataset kept on a device after its samples are read once, with transforms of whole batches.

    Until :meth:`load` it reads a sample whenever one is asked for; what it returns is the same.

    Args:
        dataset: The dataset; its samples are dicts of tensors of one shape, such as those of an
            :class:`~motivation.datasets.ImageDataset`, and always the same. Skipped samples are left out of batches.
        transforms: Functions of ``'inputs'``, (N, C, H, W), by their names in errors, applied in order. They draw random
            numbers on the host.
        device: Where the samples are kept.

    Attributes:
        metainfo: The dataset's.
    """

    def __init__(
        self, dataset: Any, transforms: Mapping[str, Callable[[Tensor], Tensor]], device: torch.device | str
    ) -> None:
        self.dataset = dataset
        self.transforms = dict(transforms)
        self.device = torch.device(device)
        self.metainfo = getattr(dataset, 'metainfo', None) or {}
        self._fields: dict[str, Tensor] | None = None
        self._labels: Tensor | None = None
        self._skipped: dict[int, tuple[str, str]] = {}
        self._names: dict[int, str] = {}
        self._fits = False

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, announce: Callable[[str], None] = lambda message: None, num_workers: int = 0) -> None:
        """Read all samples, unless that is done; on a second call nothing happens.

        Args:
            announce: Called with a message every :data:`INTERVAL` seconds. Default: no messages.
            num_workers: Processes that read. Default: 0, this one.

        Raises:
            ConfigError: The samples do not fit into the memory of the device, have different shapes, or are random.
        """
        if self._fields is not None:
            return
        reader = DataLoader(
            ReadTogether(self.dataset), CHUNK, num_workers=num_workers, collate_fn=_stack, worker_init_fn=init_worker,
            generator=torch.Generator(),  # else torch draws a seed for workers from the run's
        )  # fmt: skip
        fields: dict[str, Tensor] | None = None
        begun = said = time.monotonic()
        for place, (batch, skipped, randomness) in enumerate(reader):
            _check_not_random(randomness)
            first = place * CHUNK
            self._skipped |= {first + number: problem for number, problem in skipped.items()}
            if batch is not None:
                fields = self._allocate(batch) if fields is None else fields
                kept = [first + number for number in range(_length(batch) + len(skipped)) if number not in skipped]
                self._store(fields, kept, batch)
                self._names |= zip(kept, batch.names or (), strict=False)
            if time.monotonic() - said > INTERVAL:
                said = time.monotonic()
                done = min(first + CHUNK, len(self))
                announce(f'{done:,} of {len(self):,} samples read onto {self.device}')
        if fields is None:
            fields = collate_images([{'skipped': problem} for problem in self._skipped.values()])  # raises
        if said > begun:
            announce(f'{len(self):,} samples are on {self.device}, in {memory_text(_bytes(fields))}')
        self._labels = fields['targets'].cpu() if 'targets' in fields else None
        self._fields = fields

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a transformed sample; a skipped one has only ``'skipped'``: its name and what is wrong with it."""
        index = range(len(self))[index]
        if self._fields is None:
            sample = self._read(index)
            if 'skipped' in sample:
                return sample
            batch, name = collate_images([sample]), getattr(sample, 'name', '')
        else:
            if index in self._skipped:
                return {'skipped': self._skipped[index]}
            batch, name = self._gather([index]), self._name([index])[0]
        return Sample({field: values[0] for field, values in self._transform(batch).items()}, name)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a transformed batch on the device, without the skipped samples.

        Raises:
            ConfigError: All samples are skipped.
        """
        if self._fields is None:
            return self._transform(collate_images(Samples([self._read(index) for index in indices], indices)))
        return self._transform(self._gather(indices))

    def _gather(self, indices: list[int]) -> Batch:
        assert self._fields is not None
        skipped = [self._skipped[index] for index in indices if index in self._skipped] if self._skipped else []
        if skipped:
            indices = [index for index in indices if index not in self._skipped]
            if not indices:
                return collate_images([{'skipped': problem} for problem in skipped])  # raises
        places = torch.tensor(indices)
        there = places.to(self.device, non_blocking=True)
        fields = {name: values.index_select(0, there) for name, values in self._fields.items()}
        return Batch(
            fields, skipped, None if self._labels is None else self._labels[places], indices, self._name(indices)
        )

    def _name(self, indices: Sequence[int]) -> list[str]:
        return [self._names.get(index, f'image {index}') for index in indices]

    def _transform(self, batch: Batch) -> Batch:
        if self.transforms:
            images = batch['inputs'].to(self.device)
            for name, transform in self.transforms.items():
                images = _apply(name, transform, images)
            batch['inputs'] = images
        return batch

    def _read(self, index: int) -> dict[str, Any]:
        """Read a sample; the first that is read is checked for the size of all."""
        (sample,), randomness = read_samples(self.dataset, [index], twice=0 if self._fits else 1)
        _check_not_random(randomness)
        if not self._fits and isinstance(sample, Mapping) and 'skipped' not in sample:
            self._allocate(collate_images([sample]), check_only=True)
        return sample

    def _allocate(self, batch: Batch, check_only: bool = False) -> dict[str, Tensor]:
        """Return uninitialised memory for all samples, after checking that there is enough.

        Args:
            batch: Some samples.
            check_only: Whether to return nothing. Default: ``False``.
        """
        for name, values in batch.items():
            if not isinstance(values, Tensor):
                raise ConfigError(
                    f'samples have a {type(values).__name__} in {name!r}, and DeviceDataLoader keeps tensors; {_ORDINARY}'
                )
        one = sum(values[0].numel() * values.element_size() for values in batch.values())
        free = free_memory(self.device)
        if free is not None and one * len(self) > SHARE * free:
            raise ConfigError(
                f'{len(self):,} {noun_of(batch)}s of {tuple(batch["inputs"].shape[1:])} take {memory_text(one * len(self))}, '
                f'and {self.device} has {memory_text(free)} free, of which DeviceDataLoader uses at most {SHARE:.0%}; '
                f'{_ORDINARY}, or make them smaller with a Resize'
            )
        self._fits = True
        if check_only:
            return {}
        return {
            name: torch.zeros((len(self), *values.shape[1:]), dtype=values.dtype, device=self.device)
            for name, values in batch.items()
        }

    def _store(self, fields: dict[str, Tensor], places: list[int], batch: Batch) -> None:
        there = torch.tensor(places, device=self.device)
        for name, values in fields.items():
            if batch[name].shape[1:] != values.shape[1:] or batch[name].dtype != values.dtype:
                sizes = ' and '.join(str(tuple(tensor.shape[1:])) for tensor in (values, batch[name]))
                raise ConfigError(
                    f'samples have {name!r} of different shapes, {sizes}, and DeviceDataLoader keeps them in one tensor; give '
                    "the dataset a transform that makes them one, such as dict(type='Resize', size=[224, 224]) before the "
                    f'random ones, or {_ORDINARY}'
                )
            values.index_copy_(0, there, batch[name].to(self.device))


def _apply(name: str, transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a transform; what it raises about an argument, or anything else, names it."""
    try:
        return transform(images)
    except ArgumentError as error:
        raise ArgumentError(f'{name}.{error.argument}', error.problem) from error
    except (ConfigError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transforms raise errors of any type
        raise ArgumentError(
            name, f'({type(transform).__name__}) fails on a batch of {tuple(images.shape)}: {reason(error)}; fix it'
        ) from error


def _stack(read: Any) -> tuple[Batch | None, dict[int, tuple[str, str]], str]:
    """Return the usable samples of a list as a batch, name and problem of the others by place, and what is random.

    Args:
        read: What :meth:`ReadTogether.__getitems__` returns.
    """
    samples, randomness = read
    skipped = {
        place: sample['skipped']
        for place, sample in enumerate(samples)
        if isinstance(sample, Mapping) and 'skipped' in sample
    }
    kept = [sample for place, sample in enumerate(samples) if place not in skipped]
    return collate_images(kept) if kept else None, skipped, randomness


def _length(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _bytes(fields: Mapping[str, Tensor]) -> int:
    return sum(values.numel() * values.element_size() for values in fields.values())


def _check_not_random(clause: str) -> None:
    """Refuse samples of which :func:`read_samples` says that they are random."""
    if clause:
        raise ArgumentError(
            'transforms',
            f'{clause}, and DeviceDataLoader reads each image once, which would repeat them in every epoch; register a '
            'version for batches in BATCH_TRANSFORMS, use transforms that have one, such as RandomCrop or ColorJitter, or '
            "write type='DataLoader'",
        )
