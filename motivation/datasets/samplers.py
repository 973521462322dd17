"""Samplers that do not draw every image once an epoch: balanced, weighted, and with repeated augmentation.

The order of an epoch depends on the seed and the number of the epoch alone, so that a run resumes at any batch of it. Under
several processes each takes every n-th sample of the same order, and all the same number: the first samples come again
where they do not divide.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from mmengine.dist import get_dist_info, sync_random_seed
from torch import Tensor
from torch.utils.data import Sampler

from motivation.datasets.targets import labels_of
from motivation.errors import ArgumentError, reason
from motivation.registry import DATA_SAMPLERS
from motivation.utils.arguments import Count, Seed, Written, check_one_of, checked

Weights = Sequence[Annotated[float, Ge(0)]]


class EpochShare:
    """The share of this process in the order of every epoch.

    Args:
        samples: Number of samples of an epoch, in all processes.
        seed: Seed of the order; ``None`` for one that all processes agree on.
    """

    def __init__(self, samples: int, seed: int | None) -> None:
        self._rank, self._processes = get_dist_info()
        self._seed = sync_random_seed() if seed is None else seed
        self.samples = samples

    def __len__(self) -> int:
        return math.ceil(self.samples / self._processes)

    def generator(self, epoch: int) -> torch.Generator:
        """Return a generator for the order of an epoch, the same in all processes."""
        (seed,) = np.random.SeedSequence((self._seed, epoch)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(seed))

    def of(self, order: Tensor) -> Iterator[int]:
        """Return an iterator of the samples of this process in an order of all."""
        places = torch.arange(self._rank, len(self) * self._processes, self._processes)
        return iter(order[places % len(order)].tolist())


@DATA_SAMPLERS.register_module()
class BalancedSampler(Sampler[int]):
    """Draws each class equally often, up to one image: class-aware sampling (Shen et al., arXiv 1512.05830, section 3.3).

    The images of a class come in a random order, each once before any comes again in the epoch. With several labels an image
    comes as often as its labels have it drawn, and one without labels never. A class without images is passed over.

    Args:
        dataset: The training data, whose labels are known without its images.
        samples_per_epoch: Number of samples of an epoch, in all processes. Default: that of the data.
        seed: Seed of the order; the run's.

    Attributes:
        epoch: Number of the epoch, from 0.

    Raises:
        ConfigError: The labels are not known, or no image has one.

    Example:
        >>> train_dataloader = dict(sampler=dict(type='BalancedSampler'))
    """

    shuffle = True  # the first samples of an epoch are a random part of it
    is_for_training = True  # refused in evaluation

    @checked
    def __init__(self, dataset: Any, samples_per_epoch: Count | None = None, seed: Seed | None = None) -> None:
        self._share = EpochShare(samples_per_epoch or len(dataset), seed)
        labels = labels_of(dataset)
        if labels.ndim == 1:
            classes = [(labels == label).nonzero()[:, 0] for label in labels.unique().tolist() if label >= 0]
        else:
            classes = [column.nonzero()[:, 0] for column in labels.T]
        self._classes = [images for images in classes if len(images)]
        if not self._classes:
            raise ArgumentError('type', "is 'BalancedSampler', and no image has a label; write 'DefaultSampler'")
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        generator, classes = self._share.generator(self.epoch), len(self._classes)
        each, more = divmod(self._share.samples, classes)
        quotas = each + (torch.randperm(classes, generator=generator) < more).long()
        drawn = [
            _in_turn(images, quota, generator) for images, quota in zip(self._classes, quotas.tolist(), strict=True)
        ]
        order = torch.cat(drawn)
        return self._share.of(order[torch.randperm(len(order), generator=generator)])

    def __len__(self) -> int:
        return len(self._share)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order."""
        self.epoch = epoch


def _in_turn(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` images, in random orders of all of them, one after another."""
    rounds = [images[torch.randperm(len(images), generator=generator)] for _ in range(math.ceil(count / len(images)))]
    return torch.cat(rounds)[:count] if rounds else images[:0]


@DATA_SAMPLERS.register_module()
class WeightedSampler(Sampler[int]):
    """Draws each image with a probability in proportion to its weight, with replacement.

    Args:
        dataset: The training data.
        class_weights: The weight of the images of each class, at least 0, for data with one label an image, which is known
            without the images.
        sample_weights: The weight of each image, at least 0, in the order of the data: numbers, or the path of a ``.npy`` file
            or of a text file with a number a line. Exactly one of the two is given.
        samples_per_epoch: Number of samples of an epoch, in all processes. Default: that of the data.
        seed: Seed of the order; the run's.

    Attributes:
        epoch: Number of the epoch, from 0.

    Raises:
        ConfigError: There are not as many weights as classes or images, all are 0, one is negative, the file cannot be read,
            or the labels are not known.

    Example:
        >>> train_dataloader = dict(sampler=dict(type='WeightedSampler', class_weights=[1.0, 1.0, 5.0]))
    """

    shuffle = True
    is_for_training = True

    @checked
    def __init__(
        self,
        dataset: Any,
        class_weights: Annotated[Weights, Written('[1.0, 2.0, 0.5]')] | None = None,
        sample_weights: Weights | str | None = None,
        samples_per_epoch: Count | None = None,
        seed: Seed | None = None,
    ) -> None:
        check_one_of(class_weights=class_weights, sample_weights=sample_weights)
        self._share = EpochShare(samples_per_epoch or len(dataset), seed)
        if class_weights is not None:
            weights, argument = _of_classes(labels_of(dataset), class_weights), 'class_weights'
        else:
            weights, argument = _of_images(sample_weights, len(dataset)), 'sample_weights'
        if not weights.sum() > 0:
            raise ArgumentError(argument, 'is 0 for every image; give at least one a weight')
        self._cumulative = weights.cumsum(0)
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        # Not torch.multinomial, which takes at most 2**24 images.
        generator = self._share.generator(self.epoch)
        drawn = torch.rand(self._share.samples, generator=generator, dtype=torch.float64) * self._cumulative[-1]
        return self._share.of(torch.searchsorted(self._cumulative, drawn, right=True))

    def __len__(self) -> int:
        return len(self._share)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order."""
        self.epoch = epoch


def _of_classes(labels: Tensor, class_weights: Sequence[float]) -> Tensor:
    """Return the weight of each image, (N,); of one whose label is no class 0."""
    if labels.ndim > 1:
        raise ArgumentError(
            'class_weights',
            'are for one label an image, and the data has several; give sample_weights, or BalancedSampler',
        )
    most = int(labels.max()) + 1
    if most > len(class_weights):
        raise ArgumentError('class_weights', f'has {len(class_weights)} numbers, and the data has {most} classes')
    of_classes = torch.tensor([*class_weights, 0.0], dtype=torch.float64)  # the last is that of label -1
    return of_classes[labels]


def _of_images(given: Any, images: int) -> Tensor:
    """Return the weight of each image, (N,)."""
    named = ''
    if isinstance(given, str):
        named = f' in {given!r}'
        try:
            given = np.load(given) if Path(given).suffix == '.npy' else np.loadtxt(given, ndmin=1)
        except Exception as error:  # numpy raises errors of several types
            raise ArgumentError(
                'sample_weights',
                f'is {given!r}, which cannot be read: {reason(error)}; give a number a line, or a .npy',
            ) from error
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (images,):
        raise ArgumentError(
            'sample_weights',
            f'has numbers of shape {weights.shape}{named}, and the data has {images:,} images; give one each',
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ArgumentError('sample_weights', f'must be finite and at least 0{named}')
    return torch.from_numpy(weights)


@DATA_SAMPLERS.register_module()
class RepeatAugSampler(Sampler[int]):
    """Draws each image several times in a row, each time augmented differently: repeated augmentation, as timm's.

    Hoffer et al., arXiv 1901.09335, and Berman et al., arXiv 1902.05509. An epoch is as long as without, so that it has a
    random part of the images. Under several processes the copies of an image go to different ones.

    Args:
        dataset: The training data.
        num_repeats: How often each image comes. Default: 3.
        samples_per_epoch: Number of samples of an epoch, in all processes, at most ``num_repeats`` times that of the data.
            Default: that of the data.
        seed: Seed of the order; the run's.

    Attributes:
        epoch: Number of the epoch, from 0.

    Raises:
        ArgumentError: ``samples_per_epoch`` is too large.

    Example:
        >>> train_dataloader = dict(sampler=dict(type='RepeatAugSampler', num_repeats=3))
    """

    shuffle = True
    is_for_training = True

    @checked
    def __init__(
        self, dataset: Any, num_repeats: Count = 3, samples_per_epoch: Count | None = None, seed: Seed | None = None
    ) -> None:
        self._images = len(dataset)
        self._share = EpochShare(samples_per_epoch or self._images, seed)
        if self._share.samples > num_repeats * self._images:
            raise ArgumentError(
                'samples_per_epoch',
                f'must be at most {num_repeats * self._images:,}, {num_repeats} times the {self._images:,} images, got '
                f'{self._share.samples:,}; lower it, or raise num_repeats',
            )
        self.num_repeats = num_repeats
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        images = torch.randperm(self._images, generator=self._share.generator(self.epoch))
        return self._share.of(images.repeat_interleave(self.num_repeats)[: self._share.samples])

    def __len__(self) -> int:
        return len(self._share)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order."""
        self.epoch = epoch
