"""What a sample of a WebDataset shard is: files that share a key, with an image and a class index."""

import json
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from motivation.datasets.image_files import is_hidden, shortlist
from motivation.errors import ArgumentError, near_matches

# The key of a sample, and the extension of one of its files: up to the first dot after the folder.
_MEMBER = re.compile(r'((?:.*/)?[^./][^./]*)\.([^/]+)')

_INTEGER = re.compile(rb'\s*[+-]?\d+\s*')

# A file of a sample: its place or its content.
File = TypeVar('File')


def grouped(shard: str, members: Iterable[tuple[tarfile.TarInfo, File]]) -> Iterator[tuple[str, dict[str, File]]]:
    """Yield the key of each sample of a shard, with its files by extension.

    Args:
        shard: Name of the shard, for messages.
        members: Its members, in order, with what stands for each.

    Raises:
        ArgumentError: Two samples have one key.
    """
    key, files = '', dict[str, File]()
    keys = set[str]()
    for info, file in members:
        match = _MEMBER.fullmatch(info.name)
        if match is None or not info.isfile() or any(map(is_hidden, info.name.split('/'))):
            continue
        if match[1] != key:
            if files:
                yield key, files
                keys.add(key)
            key, files = match[1], {}
        if key in keys or match[2] in files:
            raise ArgumentError(
                'root',
                f'holds {shard!r}, in which two samples have the key {key!r} ({info.name!r} comes again); give each a key '
                'of its own',
            )
        files[match[2]] = file
    if files:
        yield key, files


def image_of(shard: str, key: str, files: Mapping[str, File], known: Collection[str]) -> File | None:
    """Return the image of a sample, ``None`` if it has none.

    Args:
        shard: Name of the shard, for messages.
        key: Key of the sample, for messages.
        files: Its files by extension.
        known: Extensions of images, in lower case with the dot.

    Raises:
        ArgumentError: It has several.
    """
    images = [extension for extension in files if f'.{extension.lower()}' in known]
    if len(images) > 1:
        raise ArgumentError(
            'root',
            f'holds {shard!r}, in which the sample {key!r} has several images, {shortlist(images)}; say which counts, as in '
            f'input_key={images[0]!r}, or give each a key of its own',
        )
    return files[images[0]] if images else None


def label_file(target_key: str | None) -> str:
    """Return the extension of the file that holds the class index."""
    return 'cls' if target_key is None else 'json'


def label_in(text: bytes, name: str, target_key: str | None) -> int:
    """Return the class index in the label file of a sample.

    Args:
        text: The content of the file.
        name: Name of the sample, for messages.
        target_key: Field of a JSON file that holds it; ``None`` for a file of the number alone.

    Raises:
        ArgumentError: The JSON file has no such field.
        ValueError: The label is not an integer.
    """
    if target_key is None:
        label = int(text) if _INTEGER.fullmatch(text) else None
    else:
        fields = _json(text)
        if isinstance(fields, dict) and target_key not in fields:
            raise ArgumentError(
                'target_key',
                f'is {target_key!r}, which the JSON file of {name!r} lacks; {near_matches(target_key, fields)}',
            )
        label = fields[target_key] if isinstance(fields, dict) else None
    if type(label) is not int:  # a bool is one to isinstance
        raise ValueError(f'the label of {name!r} is no class index, an integer: {text[:40]!r}')
    return label


def described_fields(text: bytes) -> str:
    """Return a clause on the fields of a JSON file."""
    content = _json(text)
    names = ', '.join(map(repr, content)) if isinstance(content, dict) else ''
    return f'one of whose fields ({names or "none"}) holds the class index'


def _json(text: bytes) -> Any:
    """Return the content of a JSON file, ``None`` if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
