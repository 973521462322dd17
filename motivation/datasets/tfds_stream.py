"""Data sets of TensorFlow Datasets, prepared on the disk, read as streams."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from motivation.datasets.stream_facts import classes_of
from motivation.datasets.stream_lanes import RawSample
from motivation.errors import ArgumentError, near_matches
from motivation.utils.arguments import Count, checked


class TfdsStream:
    """Samples of a prepared data set of TensorFlow Datasets, whose images stay encoded.

    The files are read one after another by ``tfds.ReadConfig(interleave_cycle_length=1)``, in stored order, from any
    sample on; TensorFlow shuffles nothing.

    Args:
        name: Its name, as :func:`tensorflow_datasets.builder` takes it.
        root: Folder of the prepared data sets; ``''`` for the package's own.
        split: Split of the data, whole.
        input_key: Feature of the image. Default: ``'image'``.
        target_key: Feature of the class index. Default: ``'label'``.
        num_classes: Number of classes, for labels without names.

    Raises:
        ImportError: ``tensorflow`` or ``tensorflow_datasets`` is not installed.
        ArgumentError: There is no such split or feature.
    """

    # TensorFlow hangs in a fork of a process in which it has run.
    start_method = 'spawn'

    @checked
    def __init__(
        self,
        name: str,
        root: str,
        split: str,
        input_key: str = 'image',
        target_key: str = 'label',
        num_classes: Count | None = None,
    ) -> None:
        # Imported here because it is optional and takes four seconds.
        import tensorflow_datasets as tfds

        self._builder = tfds.builder(name, data_dir=root or None)
        info = self._builder.info
        if split not in info.splits:
            raise ArgumentError(
                'split', f'is {split!r}, and a stream takes whole splits; {near_matches(split, info.splits)}'
            )
        for argument, key in (('input_key', input_key), ('target_key', target_key)):
            if key not in info.features:
                raise ArgumentError(argument, f'is {key!r}, which {name!r} lacks; {near_matches(key, info.features)}')
        if not isinstance(info.features[input_key], tfds.features.Image):
            raise ArgumentError('input_key', f'is {input_key!r}, whose values are no images')
        self._split, self._keys = split, (input_key, target_key)
        self.lengths = [int(length) for length in info.splits[split].shard_lengths]
        self.shards = list(info.splits[split].filenames)
        self.total = sum(self.lengths)
        self._ends = list(accumulate(self.lengths))
        self.classes = classes_of(getattr(info.features[target_key], 'names', None), num_classes)

    def read(self, shard: int, first: int) -> Iterator[RawSample]:
        """Yield the samples of a shard, without the first ones."""
        # Imported here because it is optional; a worker imports it again.
        import tensorflow_datasets as tfds

        image_key, target_key = self._keys
        end = self._ends[shard]
        begin = end - self.lengths[shard]
        part = tfds.core.ReadInstruction(self._split, from_=begin + first, to=end, unit='abs')
        samples: Any = self._builder.as_dataset(
            split=part,
            shuffle_files=False,
            decoders={image_key: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        for number, sample in enumerate(samples.as_numpy_iterator(), first):
            name = f'{self.shards[shard]}, sample {number}'
            yield RawSample(name, bytes(sample[image_key]), int(sample[target_key]))
