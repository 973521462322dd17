"""WebDataset shards that are read from their beginning: URLs, pipes and compressed files."""

import json
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from motivation.datasets.image_files import image_extensions
from motivation.datasets.shard_samples import grouped, image_of, label_file, label_in
from motivation.datasets.shards import INFO, expand
from motivation.datasets.stream_lanes import RawSample
from motivation.errors import ArgumentError, near_matches

# A URL, as webdataset opens it; a letter alone is a drive.
_URL = re.compile(r'[a-z][a-z0-9+.-]+:', re.IGNORECASE)

# What timm takes for the number of samples behind the names of shards.
_NUMBER = re.compile(r'\|(\d+)$')

_COMPRESSED = re.compile(r'\.(tgz|tar\.\w+)$')


class TarStream:
    """Samples of WebDataset shards, each shard read from its beginning.

    Args:
        shards: Paths or URLs of the tars, compressed or not.
        lengths: Number of samples of each, those without image or label included; ``None`` if that is not known.
        total: Number of samples of all.
        classes: Names of the classes.
        target_key: Field of the JSON file that holds the class index; ``None`` (default) for the ``.cls`` file.
        extensions: Extensions of images, in lower case with the dot; ``None`` (default) for all that Pillow decodes.

    Raises:
        ImportError: A shard is a URL, and webdataset is not installed.
    """

    start_method = None

    def __init__(
        self,
        shards: Sequence[str],
        lengths: Sequence[int] | None,
        total: int,
        classes: Sequence[str],
        target_key: str | None = None,
        extensions: Collection[str] | None = None,
    ) -> None:
        self.shards = shards
        self.lengths = lengths
        self.total = total
        self.classes = classes
        self._target_key = target_key
        self._known = image_extensions() if extensions is None else frozenset(extensions)
        if any(map(is_url, shards)):
            import webdataset.gopen  # noqa: F401  # optional; what lacks it is to be said at the start

    def read(self, shard: int, first: int) -> Iterator[RawSample]:
        """Yield the samples of a shard, without the first ones."""
        name = self.shards[shard]
        with _open(name) as file, tarfile.open(fileobj=file, mode='r|*') as tar:
            try:
                for key, files in islice(grouped(name, _members(tar)), first, None):
                    yield self._sample(name, key, files)
            except GeneratorExit:
                if hasattr(file, 'ignore_errors'):
                    file.ignore_errors = True  # a command fails whose output is not read to its end
                raise

    def _sample(self, shard: str, key: str, files: dict[str, bytes]) -> RawSample:
        name, image, text = f'{shard}/{key}', image_of(shard, key, files, self._known), label_file(self._target_key)
        if image is None or text not in files:
            return RawSample(name, None, None, f'has no {"image" if image is None else f"file .{text} with its class"}')
        try:
            return RawSample(name, image, label_in(files[text], name, self._target_key))
        except ArgumentError:
            raise
        except ValueError:
            return RawSample(name, image, None, f'has a label that is no class index: {files[text][:40]!r}')


def is_url(name: str) -> bool:
    """Return whether the name of a shard or folder is a URL or a pipe."""
    return _URL.match(name) is not None


def is_compressed(name: str) -> bool:
    """Return whether the name of a shard is that of a compressed one."""
    return _COMPRESSED.search(name.lower()) is not None


def find_urls(root: str, split: str) -> tuple[list[str], int | None]:
    """Return the URLs of the shards of a split, and the number of samples if the split says it.

    Args:
        root: URL of the folder of the shards, such as ``'https://host/folder'`` or ``'pipe:curl -sfL https://host/folder'``.
        split: Their names, or URLs of their own, such as ``'train-{0000..0099}.tar'``, several joined by ``::``, and a
            number of samples after ``|``; or the name of a split in ``_info.json``.

    Raises:
        ArgumentError: There is no such split.
    """
    number = _NUMBER.search(split)
    names = split[: number.start()] if number else split
    if '.tar' in names or '.tgz' in names:
        parts = [name for part in names.split('::') for name in expand(part)]
    else:
        splits = shard_info(root).get('splits', {})
        if names not in splits:
            way_out = (
                near_matches(names, splits) if splits else "give the names of the shards, as 'train-{0000..0099}.tar'"
            )
            raise ArgumentError('split', f'is {split!r}, which no {INFO[0]} at {root!r} lists; {way_out}')
        parts = splits[names]['filenames']
    return [part if is_url(part) or not root else f'{root}/{part}' for part in parts], int(
        number[1]
    ) if number else None


def shard_info(root: str) -> dict[str, Any]:
    """Return what the file at ``root`` says in which WebDataset tools list the shards, ``{}`` if there is none."""
    for name in INFO if root else ():
        try:
            with _open(f'{root}/{name}') as file:
                return dict(json.loads(file.read()))
        except (OSError, ValueError):
            continue
    return {}


def known_lengths(root: str, shards: Sequence[str]) -> list[int] | None:
    """Return the numbers of samples of shards that the file at ``root`` says, ``None`` if it does not say all."""
    lengths: dict[str, int] = {}
    for split in shard_info(root).get('splits', {}).values():
        names = [f'{root}/{name}' for name in split.get('filenames', [])]
        lengths.update(zip(names, split.get('shard_lengths', []), strict=False))
    found = [lengths.get(shard) for shard in shards]
    return None if None in found else [int(length) for length in found if length is not None]


def _open(name: str) -> Any:
    if not is_url(name):
        return Path(name).open('rb')
    # Imported here because it is optional, and only URLs need it.
    from webdataset.gopen import gopen

    return gopen(name)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the members of a tar that is read as a stream, with their content, and check that it is whole.

    A tar ends with two blocks of zeros (POSIX, pax interchange format), of which tarfile reads one; it takes any damage
    between members for the end as well.
    """
    for info in tar:
        file = tar.extractfile(info) if info.isfile() else None
        yield info, b'' if file is None else file.read()
        tar.members = []  # type: ignore[attr-defined]  # of which it would keep all
    fileobj: Any = tar.fileobj
    block = fileobj.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise tarfile.ReadError('it is cut or damaged: the blocks that end a tar are missing')
