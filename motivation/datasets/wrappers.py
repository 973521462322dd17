"""Datasets made of others."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Dataset

from motivation.datasets.image_dataset import BadImageError, Sample, class_difference
from motivation.datasets.stream_images import stream_of
from motivation.errors import ArgumentError
from motivation.registry import DATASETS
from motivation.utils.arguments import Count, checked


@DATASETS.register_module()
class ConcatDataset(TorchConcatDataset):
    """Several datasets one after another, as one.

    Args:
        datasets: Their configs.

    Attributes:
        metainfo: Theirs; ``'classes'`` are the same for all that name any.

    Raises:
        ConfigError: There are none, or their classes differ.

    Example:
        >>> folders = [dict(type='TimmDataset', root=root) for root in ('data/studio', 'data/phone')]
        >>> dataset = dict(type='ConcatDataset', datasets=folders)
    """

    def __init__(self, datasets: Sequence[dict[str, Any]]) -> None:
        if not datasets:
            raise ArgumentError('datasets', 'must be at least one dataset, [dict(type=...), ...], got none')
        super().__init__([_build(config, f'datasets.{place}') for place, config in enumerate(datasets)])
        self.metainfo: dict[str, Any] = {}
        first = -1  # to name classes
        for place, dataset in enumerate(self.datasets):
            metainfo = getattr(dataset, 'metainfo', None) or {}
            if first >= 0 and 'classes' in metainfo:
                _check_same(self.metainfo['classes'], metainfo['classes'], first, place)
            elif 'classes' in metainfo:
                first = place
            self.metainfo = {**metainfo, **self.metainfo}

    def __getitem__(self, index: int) -> Any:
        """The item of that number, whose name says of which dataset it is, if it is no file."""
        place = bisect_right(self.cumulative_sizes, range(len(self))[index])
        try:
            item = super().__getitem__(index)
        except BadImageError as error:
            raise BadImageError(_name(error.image, place), error.problem, error.remedy) from error
        if isinstance(item, Sample):
            item.name, item.index = _name(item.name, place), range(len(self))[index]
        elif isinstance(item, dict) and 'skipped' in item:
            image, problem = item['skipped']
            item['skipped'] = _name(image, place), problem
        return item


@DATASETS.register_module()
class RepeatDataset(Dataset):
    """A dataset several times over, for an epoch that is longer.

    Args:
        dataset: Its config.
        times: How often each image comes.

    Attributes:
        metainfo: The dataset's.

    Raises:
        ConfigError: ``times`` is below 1.

    Example:
        >>> dataset = dict(type='RepeatDataset', times=10, dataset=dict(type='DigitsDataset', split='train'))
    """

    @checked
    def __init__(self, dataset: dict[str, Any], times: Count) -> None:
        self.dataset = _build(dataset, 'dataset')
        self.times = times
        self.metainfo = getattr(self.dataset, 'metainfo', None) or {}

    def __len__(self) -> int:
        return self.times * len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[range(len(self))[index] % len(self.dataset)]
        if isinstance(item, Sample):
            item.index = range(len(self))[index]
        return item


def _build(config: Any, place: str) -> Any:
    """Build a dataset within another."""
    if not isinstance(config, dict):
        raise ArgumentError(place, f'must be a dataset: dict(type=...), got {config!r}')
    dataset = DATASETS.build(config)
    if stream_of(dataset) is not None:
        raise ArgumentError(place, 'is read as a stream, which is no part of another data set; use it alone')
    return dataset


def _check_same(ours: Sequence[str], theirs: Sequence[str], first: int, place: int) -> None:
    difference = class_difference(ours, theirs)
    if difference is not None:
        index, one, other = difference
        raise ArgumentError(
            'datasets',
            f'differ: class {index} is {one} in {first} and {other} in {place}; all need the same class folders',
        )


def _name(name: str, place: int) -> str:
    return f'{name} of datasets.{place}' if name.startswith('image ') else name
