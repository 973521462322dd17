"""The data loader that keeps its dataset on the training device."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.device import get_device
from mmengine.registry import Registry
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from motivation.datasets.device_images import DeviceImages
from motivation.datasets.loading import collate_images
from motivation.datasets.stream_images import stream_of
from motivation.errors import ArgumentError, TrainingError, shortened
from motivation.registry import BATCH_TRANSFORMS, DATA_LOADERS, DATASETS, TRANSFORMS, look_up
from motivation.utils.arguments import arguments_of

DATA_LOADERS.register_module(module=DataLoader)


@DATA_LOADERS.register_module()
class DeviceDataLoader(DataLoader):
    """A data loader that reads its dataset once, onto the training device, and augments whole batches there.

    It takes the config of torch's ``DataLoader``. The dataset's transforms up to the first random one are applied once,
    when training begins, and samples are kept as they then are: uint8 images take C x H x W bytes each. The
    transforms from there on are applied to batches by their counterparts in
    :data:`~motivation.registry.BATCH_TRANSFORMS`, with parameters drawn for every image from the distribution of
    the original. Every process keeps the whole dataset and takes its own samples. A ``RepeatDataset`` is kept
    as often as it repeats.

    Args:
        dataset: A :class:`DeviceImages`, or a wrapper with its attributes; in a config, that of any dataset.
        batch_size: Samples of a batch. Default: 1.
        sampler: Draws the samples. Default: in their order.
        batch_sampler: Draws batches, instead of the two.
        drop_last: Whether to leave out an incomplete last batch. Default: ``False``.
        num_workers: Processes that read the dataset, once. Default: 0, the training process.

    Raises:
        ArgumentError: A transform has no version for batches.

    Example:
        >>> train_dataloader = dict(
        ...     type='DeviceDataLoader',
        ...     batch_size=128,
        ...     sampler=dict(type='DefaultSampler', shuffle=True),
        ...     dataset=dict(type='TimmDataset', root='data/cifar10', transforms=[dict(type='RandomCrop', size=32, padding=4)]),
        ... )
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        sampler: Sampler | None = None,
        batch_sampler: BatchSampler | None = None,
        drop_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        drawn: dict[str, Any] = {'batch_size': batch_size, 'sampler': sampler, 'drop_last': drop_last}
        drawn = {'batch_sampler': batch_sampler} if batch_sampler is not None else drawn
        super().__init__(dataset, collate_fn=collate_images, **drawn)
        self._readers = num_workers
        self._announce: Callable[[str], None] = lambda message: None

    @staticmethod
    def make_dataset(config: Mapping[str, Any], build: Callable[[Registry, Any, str], Any]) -> DeviceImages:
        """Build the dataset of a config and the batch versions of its transforms.

        Args:
            config: The config of the dataset.
            build: Builds a part with its registry, config, and dotted path within the dataset's.
        """
        once, batched = divide(config)
        transforms = {path: build(BATCH_TRANSFORMS, {**node, 'type': _name(node)}, path) for path, node in batched}
        dataset = build(DATASETS, once, '')
        if stream_of(dataset) is not None:
            raise ArgumentError(
                'name',
                "is that of a stream, which DeviceDataLoader does not keep; write type='DataLoader' for the loader",
            )
        return DeviceImages(dataset, transforms, get_device())

    @classmethod
    def of(cls, loader: DataLoader, announce: Callable[[str], None]) -> 'DeviceDataLoader':
        """Return a loader of the same batches as another, whose dataset is that of :meth:`make_dataset`.

        Args:
            loader: The other.
            announce: Called with messages while the dataset is read.
        """
        drawn: Any = loader
        own = None if type(loader.batch_sampler) is BatchSampler else drawn.batch_sampler
        size = drawn.batch_size or 1
        made = cls(drawn.dataset, size, drawn.sampler, own, drawn.drop_last, drawn.num_workers)
        made._announce = announce
        return made

    def load(self) -> None:
        """Read the dataset onto the device, unless that is done.

        Raises:
            ConfigError: It cannot be kept there; see :meth:`DeviceImages.load`.
            TrainingError: A process that reads has died.
        """
        dataset: Any = self.dataset
        try:
            dataset.load(self._announce, self._readers)
        except RuntimeError as error:
            if 'DataLoader worker' not in str(error):
                raise
            raise TrainingError(
                f'a process that reads the data died ({error}); the machine may be short of memory: lower num_workers of the '
                'data loader'
            ) from error

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.load()
        return super().__iter__()


def divide(config: Mapping[str, Any], path: str = '') -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Divide the transforms of a dataset into those that are applied once and those that are applied to batches.

    Args:
        config: The config of the dataset, or of one that contains others.
        path: Dotted path of the config, with a final dot.

    Returns:
        The config without the random transforms and what follows them, and these with their paths.

    Raises:
        ArgumentError: A transform has no version for batches, or datasets have different random transforms.
    """
    once = dict(config)
    batched: list[tuple[str, dict[str, Any]]] = []
    component = look_up(DATASETS, config.get('type'))
    if callable(component) and 'cache_mib' in arguments_of(component)[0]:
        once['cache_mib'] = 0  # the device keeps the images
    nodes = list(config.get('transforms') or ())
    if isinstance(config.get('dataset'), Mapping):
        once['dataset'], batched = divide(config['dataset'], f'{path}dataset.')
    elif isinstance(config.get('datasets'), (list, tuple)):
        parts = [divide(inner, f'{path}datasets.{place}.') for place, inner in enumerate(config['datasets'])]
        once['datasets'] = [inner for inner, _ in parts]
        lists = [[node for _, node in random] for _, random in parts]
        for other in lists[1:]:
            if other != lists[0]:
                raise ArgumentError(
                    f'{path}datasets',
                    f'have different random transforms, {shortened(lists[0])} and {shortened(other)}; DeviceDataLoader '
                    "applies the same to all: make them agree, or write type='DataLoader'",
                )
        batched = parts[0][1] if parts else []
    if nodes:
        first = next((place for place, node in enumerate(nodes) if _is_random(node)), len(nodes))
        once['transforms'] = nodes[:first]
        own = [(f'{path}transforms.{place}', node) for place, node in enumerate(nodes[first:], first)]
        for place, node in own:
            _check(place, node)
        batched = [*batched, *own]
    return once, batched


def _name(node: Any) -> str:
    """Return the registered name of a transform, without its scope."""
    kind = node.get('type') if isinstance(node, Mapping) else None
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')


def _is_random(node: Any) -> bool:
    """Return whether a transform has a version for batches that is another class."""
    version = look_up(BATCH_TRANSFORMS, _name(node))
    return version is not None and version is not look_up(TRANSFORMS, _name(node))


def _check(path: str, node: Any) -> None:
    if look_up(BATCH_TRANSFORMS, _name(node)) is None:
        known = ', '.join(sorted(BATCH_TRANSFORMS.module_dict))
        raise ArgumentError(
            path,
            f'is {_name(node) or shortened(node)}, which has no version for batches; DeviceDataLoader has those of {known}: use '
            "these, register one in BATCH_TRANSFORMS, or write type='DataLoader'",
        )
