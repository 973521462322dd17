"""Data sets of the Hugging Face hub, and files in its formats, read as streams by its package datasets."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from motivation.datasets.stream_facts import classes_of, total_of
from motivation.datasets.stream_lanes import RawSample
from motivation.errors import ArgumentError, near_matches
from motivation.utils.arguments import Count, checked

# Number of footers that are read at once.
_READERS = 16


class HubStream:
    """Samples of a data set of the Hugging Face hub or of a folder in one of its formats, not downloaded.

    Lengths of shards are those in the footers of Parquet files; other formats do not state any.

    Args:
        name: Its name, ``'<owner>/<name>'``, or the path of a folder.
        root: Folder of the cache; ``''`` for the package's own.
        split: Split of the data.
        num_samples: Number of its samples; ``None`` (default) for what the data set states.
        input_key: Field of the image. Default: ``'image'``.
        target_key: Field of the class index. Default: ``'label'``.
        num_classes: Number of classes, for labels without names.

    Raises:
        ImportError: ``datasets`` is not installed.
        ArgumentError: There is no such field, or nothing states the number of samples or classes.
    """

    start_method = None

    @checked
    def __init__(
        self,
        name: str,
        root: str,
        split: str,
        num_samples: Count | None = None,
        input_key: str = 'image',
        target_key: str = 'label',
        num_classes: Count | None = None,
    ) -> None:
        # Imported here because it is optional and takes a second.
        import datasets

        builder = datasets.load_dataset_builder(name, cache_dir=root or None)
        stream = builder.as_streaming_dataset(split=split)
        features = stream.features or {}
        for argument, key in (('input_key', input_key), ('target_key', target_key)):
            if key not in features:
                raise ArgumentError(
                    argument, f'is {key!r}, of which {name!r} has no field; {near_matches(key, features)}'
                )
        if not isinstance(features[input_key], datasets.Image):
            raise ArgumentError('input_key', f'is {input_key!r}, whose values are no images but {features[input_key]}')
        self._keys = input_key, target_key
        self._stream = stream.select_columns([input_key, target_key]).cast_column(
            input_key, datasets.Image(decode=False)
        )
        files = [str(file) for file in (getattr(builder.config, 'data_files', None) or {}).get(split, [])]
        is_parquet = len(files) == stream.num_shards and all(file.endswith('.parquet') for file in files)
        self.shards = (
            files if is_parquet else [f'{name}, shard {shard} of {split}' for shard in range(stream.num_shards)]
        )
        self.lengths = _rows(files) if is_parquet else None
        stated = (builder.info.splits or {}).get(split)
        self.total = total_of(self.lengths, num_samples, getattr(stated, 'num_examples', None))
        self.classes = classes_of(getattr(features[target_key], 'names', None), num_classes)

    def read(self, shard: int, first: int) -> Iterator[RawSample]:
        """Yield the samples of a shard, without the first ones."""
        image_key, target_key = self._keys
        samples = self._stream.shard(len(self.shards), shard).skip(first)
        # Not iter(samples), which would take a part of the shard for each worker.
        for number, sample in enumerate(samples.iter(batch_size=1), first):
            name = f'{self.shards[shard]}, sample {number}'
            image, target = sample[image_key][0], sample[target_key][0]
            data = image and image['bytes']
            if data is None and image and image['path']:
                with Path(image['path']).open('rb') as file:
                    data = file.read()
            problem = 'has no image' if data is None else ''
            if type(target) is not int:
                target, problem = None, problem or f'has a label that is no class index: {target!r}'
            yield RawSample(name, data, target, problem)


def _rows(files: Sequence[str]) -> list[int]:
    """Return the number of rows of Parquet files."""
    # Imported here because they come with datasets, which is optional.
    import fsspec
    from pyarrow import parquet

    def rows(path: str) -> int:
        with fsspec.open(path, 'rb') as file:
            return parquet.read_metadata(file).num_rows

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(rows, files))
