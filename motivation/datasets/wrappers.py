"""Datasets made of others."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Dataset

from motivation.datasets.class_list import class_difference, read_classes
from motivation.datasets.image_dataset import BadImageError, Sample
from motivation.datasets.stream_images import stream_of
from motivation.errors import ArgumentError
from motivation.registry import DATASETS, look_up
from motivation.utils.arguments import Count, arguments_of, checked


@DATASETS.register_module()
class ConcatDataset(TorchConcatDataset):
    """Several datasets one after another, as one.

    Args:
        datasets: Their configs.
        classes: One list of class names for all, which is given to each that takes ``classes`` and has none of its own, so
            that a dataset may have some of the classes only: a list, a file with one name a line, or a folder whose
            subfolders are the classes. ``None`` (default) if the classes of all are the same.

    Attributes:
        metainfo: Theirs; ``'classes'`` are the same for all that name any.

    Raises:
        ConfigError: There are none, their classes differ, or some have several labels an image and others one.

    Example:
        >>> folders = [dict(type='TimmDataset', root=root) for root in ('data/studio', 'data/phone')]
        >>> dataset = dict(type='ConcatDataset', datasets=folders, classes='data/classes.txt')
    """

    @checked
    def __init__(self, datasets: Sequence[dict[str, Any]], classes: Sequence[str] | str | None = None) -> None:
        if not datasets:
            raise ArgumentError('datasets', 'must be at least one dataset, [dict(type=...), ...], got none')
        given = None if classes is None else read_classes(classes)
        super().__init__(
            [_build(_with_classes(config, given), f'datasets.{place}') for place, config in enumerate(datasets)]
        )
        self.metainfo: dict[str, Any] = {}
        first = -1  # to name classes
        for place, dataset in enumerate(self.datasets):
            metainfo = getattr(dataset, 'metainfo', None) or {}
            if first >= 0 and 'classes' in metainfo:
                _check_same(self.metainfo['classes'], metainfo['classes'], f'datasets.{first}', f'datasets.{place}')
            elif 'classes' in metainfo:
                first = place
            self.metainfo = {**metainfo, **self.metainfo}
        if given is not None and first >= 0:
            _check_same(given, self.metainfo['classes'], 'classes', f'datasets.{first}')
        elif given is not None:
            self.metainfo['classes'] = given
        kinds = [bool((getattr(dataset, 'metainfo', None) or {}).get('several_labels')) for dataset in self.datasets]
        if len(set(kinds)) > 1:
            several, one = kinds.index(True), kinds.index(False)
            raise ArgumentError(
                'datasets',
                f'differ: {several} has several labels an image and {one} has one; give {one} several_labels=True too',
            )

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


def _with_classes(config: Any, classes: list[str] | None) -> Any:
    """Return the config of a dataset, or of one that repeats it, with a list of class names if it takes one."""
    if classes is None or not isinstance(config, Mapping):
        return config
    if isinstance(config.get('dataset'), Mapping):
        return {**config, 'dataset': _with_classes(config['dataset'], classes)}
    component = look_up(DATASETS, config.get('type'))
    takes = callable(component) and 'classes' in arguments_of(component)[0]
    return {'classes': classes, **config} if takes else config


def _check_same(ours: Sequence[str], theirs: Sequence[str], one: str, other: str) -> None:
    difference = class_difference(ours, theirs, one, other)
    if difference:
        raise ArgumentError(
            'datasets',
            f'have different classes: {difference}; give all one list, classes=[...] or a file with one name a line',
        )


def _name(name: str, place: int) -> str:
    return f'{name} of datasets.{place}' if name.startswith('image ') else name
