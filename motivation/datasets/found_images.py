"""Finding the image files that a command line or a list names."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import BinaryIO

from motivation.datasets.image_files import image_extensions, natural_key
from motivation.datasets.image_folder import FolderWalk
from motivation.errors import ConfigError, one_line

# The name that stands for a list of paths on the standard input.
LISTED = '-'


def find_images(names: Iterable[str], stdin: BinaryIO | None = None) -> list[str]:
    """Find image files by name.

    A folder stands for all images in it, at any depth, in natural order of their paths, with the extensions, hidden
    files and links of image folders in training (:func:`~motivation.datasets.image_folder.open_folder`). A file stands
    for itself, whatever its extension. A name that does not exist is a pattern as of :mod:`glob`, with ``**`` for any
    depth, whose matches are files and folders.

    Args:
        names: Paths of files and folders, patterns, and ``'-'`` for a list of paths of files and folders.
        stdin: The list, one path a line, or separated by NUL bytes. A path in it that does not exist is returned too.
            ``None`` (default) if there is none.

    Returns:
        Paths, in the order of the names; those of one pattern once.

    Raises:
        ConfigError: A name is neither a file, a folder nor a pattern that matches, a folder cannot be read, or there
            are no images.
    """
    others: Counter[str] = Counter()
    found: list[str] = []
    for name in names:
        if name == LISTED and stdin is not None:
            for path in _listed(stdin.read()):
                found += _files(path, others)
        elif os.path.lexists(name):
            found += _files(name, others)
        else:
            matches = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207, Path lacks absolute ones
            if not matches:
                what = 'matches no file' if glob.has_magic(name) else 'does not exist'
                raise ConfigError(f'{name!r} {what}; give image files, folders or patterns such as "photos/*.jpg"')
            found += dict.fromkeys(file for match in matches for file in _files(match, others))
    if not found:
        files = ', '.join(f'{extension} {count:,}' for extension, count in others.most_common(5))
        place = 'the list on the standard input' if LISTED in names else ', '.join(map(repr, names))
        raise ConfigError(
            f'there are no images in {one_line(place, 200)}' + (f', only other files ({files})' if files else '')
            + '; give image files, folders or patterns'
        )  # fmt: skip
    return found


def _listed(text: bytes) -> Iterator[str]:
    separator = b'\0' if b'\0' in text else b'\n'
    for line in text.split(separator):
        path = os.fsdecode(line if separator == b'\0' else line.rstrip(b'\r'))
        if path:
            yield path


def _files(path: str, others: Counter[str]) -> list[str]:
    """Return a file, or the images of a folder, whose other files are counted by extension."""
    if not os.path.isdir(path):  # noqa: PTH112, of a name that need not be in UTF-8
        return [path]
    try:
        files = sorted(FolderWalk(path).files, key=lambda file: natural_key(file[0]))
    except OSError as error:
        raise ConfigError(
            f'folder {path!r} cannot be read ({error.strerror}); make it readable, or leave it out'
        ) from None
    images = []
    for name, full in files:
        extension = PurePath(name).suffix.lower()
        if extension in image_extensions():
            images.append(full)
        else:
            others[extension or 'without extension'] += 1
    return images
