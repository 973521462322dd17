"""WebDataset shards: tars of images and their labels, read at any place without unpacking."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageFile

from motivation.datasets.image_files import image_extensions, shortlist
from motivation.datasets.shard_samples import described_fields, grouped, image_of, label_file, label_in
from motivation.datasets.tars import shard_members
from motivation.errors import ArgumentError, near_matches, reason
from motivation.utils.arguments import Count, checked

# Files in which WebDataset tools list the shards of each split.
INFO = ('_info.json', 'info.json')

# What such a file holds.
_EXAMPLE = '{"splits": {"train": {"filenames": ["train-0000.tar"]}}}'

_RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')
_ALTERNATIVES = re.compile(r'\{([^{}]*,[^{}]*)\}')

# Offset and size of a file in its shard, in bytes.
Place = tuple[int, int]


class ShardImages:
    """Images in WebDataset shards, opened in any order.

    A sample is the files of a shard that follow each other and share the part of their name before the first dot: its
    image, and its class index as text (``.cls``) or in a JSON file. Only the headers and labels are read at the
    start, and a table of places is kept, so that the images are shuffled, split among processes and resumed like
    those of a folder.

    Args:
        shards: Paths of the tars, uncompressed.
        target_key: Field of the JSON file that holds the class index; ``None`` (default) for the ``.cls`` file.
        extensions: Extensions of images, in lower case with the dot; ``None`` (default) for all that Pillow decodes.
        num_classes: Number of classes; ``None`` (default) for one more than the highest class index in the shards.

    Attributes:
        samples: Name and class index of each image.
        class_to_idx: Class index by name; the names are the indices.
        remarks: A clause on samples that were left out.

    Raises:
        OSError: A shard cannot be read.
        ArgumentError: A shard is not a whole tar, a key or an image is there twice, or ``target_key`` is no field.
        ValueError: There are no samples, or a label is not an integer.
    """

    @checked
    def __init__(
        self,
        shards: Sequence[Path],
        target_key: str | None = None,
        extensions: Sequence[str] | None = None,
        num_classes: Count | None = None,
    ) -> None:
        known = image_extensions() if extensions is None else frozenset(extensions)
        self.samples: list[tuple[str, int]] = []
        self._places: list[tuple[Path, int, int]] = []
        left_out = []
        described = b''
        for shard in shards:
            places = ((info, (info.offset_data, info.size)) for info in shard_members(shard))
            for key, files in grouped(str(shard), places):
                image = image_of(str(shard), key, files, known)
                place = files.get(label_file(target_key))
                target = None if place is None else label_in(_read(shard, *place), f'{shard}/{key}', target_key)
                if image is None or target is None:
                    left_out.append(f'{shard}/{key}')
                    if image is not None and 'json' in files:
                        described = described or _read(shard, *files['json'])
                    continue
                self.samples.append((f'{shard}/{key}', target))
                self._places.append((shard, *image))
        what = 'image or class index'
        self.remarks = (
            [f'samples skipped, without {what}: {len(left_out):,} ({shortlist(left_out)})'] if left_out else []
        )
        if not self.samples and described:
            raise ArgumentError(
                'target_key', f'is left out, and labels are in JSON files, {described_fields(described)}; name it'
            )
        if not self.samples:
            raise ValueError('; '.join([f'Found 0 samples with {what}', *self.remarks]))
        classes = max(target for _, target in self.samples) + 1 if num_classes is None else num_classes
        self.class_to_idx = {str(index): index for index in range(classes)}

    def __len__(self) -> int:
        return len(self.samples)

    def open(self, index: int) -> ImageFile.ImageFile:
        """Open an image without decoding it; close it after use."""
        shard, offset, size = self._places[index]
        return Image.open(io.BytesIO(_read(shard, offset, size)))


def find_shards(root: str, split: str) -> list[Path]:
    """Return the shards of a split, in order; compressed ones where there are no others.

    Args:
        root: Folder of the shards.
        split: Their names, such as ``'train-{0000..0099}.tar'``, several joined by ``::``, and a number of samples
            after ``|``, which is not needed; or the name of a split in ``_info.json``, or of a subfolder, or the
            beginning of the names of the shards.

    Raises:
        ConfigError: There is no such shard or split.
    """
    names = split.partition('|')[0]
    if '.tar' in names:
        shards = [Path(root) / name for part in names.split('::') for name in expand(part)]
    else:
        splits = _listed(root)
        listed = [Path(root) / name for name in splits.get(split, ())]
        shards = listed or sorted([*(Path(root) / split).glob('*.tar'), *Path(root).glob(f'{split}[-_.]*tar')])
        shards = shards or sorted(Path(root).glob(f'{split}*.tar.*'))  # compressed
        if not shards:
            known = (
                near_matches(split, splits) if splits else "give the names of the shards, as 'train-{0000..0099}.tar'"
            )
            raise ArgumentError('split', f'is {split!r}, of which {root!r} has no shards; {known}')
    absent = [str(shard) for shard in shards if not shard.is_file()]
    if absent:
        raise ArgumentError(
            'split',
            f'is {split!r}, but there is no file {shortlist(absent)}; correct it, or give the URL of the shards as root',
        )
    return shards


def _listed(root: str) -> dict[str, list[str]]:
    """Return the names of the shards of each split that the first file of :data:`INFO` lists; empty without one."""
    path = next((path for path in (Path(root) / name for name in INFO) if path.is_file()), None)
    if path is None:
        return {}
    try:
        splits = json.loads(path.read_bytes()).get('splits', {})
        listed = {split: about.get('filenames', []) for split, about in splits.items()}
        if not all(
            isinstance(names, list) and all(isinstance(name, str) for name in names) for names in listed.values()
        ):
            raise TypeError('filenames are no list of names')
        return listed
    except (ValueError, AttributeError, TypeError) as error:  # no JSON, or made otherwise
        raise ArgumentError(
            'root',
            f'holds {str(path)!r}, which is not a JSON file like {_EXAMPLE} ({reason(error)}); correct it, or remove it and name '
            "the shards in split, as 'train-{0000..0099}.tar'",
        ) from error


def expand(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with ``{000..123}`` or ``{a,b}`` stands for."""
    found = _RANGE.search(pattern) or _ALTERNATIVES.search(pattern)
    if found is None:
        yield pattern
        return
    if found.re is _RANGE:
        first, last = found.groups()
        parts = [f'{number:0{len(first)}}' for number in range(int(first), int(last) + 1)]
    else:
        parts = found[1].split(',')
    for part in parts:
        yield from expand(pattern[: found.start()] + part + pattern[found.end() :])


def _read(shard: Path, offset: int, size: int) -> bytes:
    with shard.open('rb') as file:  # opened each time, because forked workers would share the file position
        file.seek(offset)
        return file.read(size)
