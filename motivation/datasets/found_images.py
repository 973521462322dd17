"""Finding the image files that a command line or a list names."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import BinaryIO

from motivation.datasets.image_files import image_extensions, natural_key, remark_on_others
from motivation.datasets.image_folder import FolderWalk
from motivation.errors import ConfigError, one_line

# The name that stands for a list of paths on the standard input.
LISTED = '-'


def find_images(
    names: Iterable[str], stdin: BinaryIO | None = None, warn: Callable[[str], object] | None = None
) -> list[str]:
    """Find image files by name.

    A folder stands for all images in it, at any depth, in natural order of their paths, with the extensions, hidden
    files and links of image folders in training (:func:`~motivation.datasets.image_folder.open_folder`). A file stands
    for itself, whatever its extension. A name that does not exist is a pattern as of :mod:`glob`, with ``**`` for any
    depth, whose matches are files and folders.

    Args:
        names: Paths of files and folders, patterns, and ``'-'`` for a list of paths of files and folders.
        stdin: The list, one path a line, or separated by NUL bytes. A path in it that does not exist is returned too.
            ``None`` (default) if there is none.
        warn: Called with one line about what was passed over in folders, in the words of training, if there was any:
            files that are not images by their extension, and links that were not followed. Hidden files are not
            counted. ``None`` (default) to say nothing.

    Returns:
        Paths, in the order of the names; those of one pattern once.

    Raises:
        ConfigError: A name is neither a file, a folder nor a pattern that matches, a folder cannot be read, or there
            are no images.
    """
    passed_over = _PassedOver()
    found: list[str] = []
    for name in names:
        if name == LISTED and stdin is not None:
            for path in _listed(stdin.read()):
                found += _files(path, passed_over)
        elif os.path.lexists(name):
            found += _files(name, passed_over)
        else:
            matches = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207, Path lacks absolute ones
            if not matches:
                what = 'matches no file' if glob.has_magic(name) else 'does not exist'
                raise ConfigError(f'{name!r} {what}; give image files, folders or patterns such as "photos/*.jpg"')
            found += dict.fromkeys(file for match in matches for file in _files(match, passed_over))
    others = passed_over.extensions(found)
    if not found:
        files = ', '.join(f'{extension} {count:,}' for extension, count in others.most_common(5))
        place = 'the list on the standard input' if LISTED in names else ', '.join(map(repr, names))
        raise ConfigError(
            f'there are no images in {one_line(place, 200)}' + (f', only other files ({files})' if files else '')
            + '; give image files, folders or patterns'
        )  # fmt: skip
    remarks = [*([remark_on_others(others)] if others else []), *dict.fromkeys(passed_over.remarks)]
    if remarks and warn is not None:
        warn(one_line('; '.join(remarks), 500))
    return found


class _PassedOver:
    """What was passed over in folders.

    Attributes:
        files: Extension of each file that is not an image, by its path.
        remarks: Clauses about links.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.remarks: list[str] = []

    def extensions(self, found: Iterable[str]) -> Counter[str]:
        """Return the number of files of each extension, without those that were found by another name."""
        elsewhere = set(found)
        return Counter(extension for path, extension in self.files.items() if path not in elsewhere)


def _listed(text: bytes) -> Iterator[str]:
    separator = b'\0' if b'\0' in text else b'\n'
    for line in text.split(separator):
        path = os.fsdecode(line if separator == b'\0' else line.rstrip(b'\r'))
        if path:
            yield path


def _files(path: str, passed_over: _PassedOver) -> list[str]:
    """Return a file, or the images of a folder, whose other files are noted."""
    if not os.path.isdir(path):  # noqa: PTH112, of a name that need not be in UTF-8
        return [path]
    try:
        walk = FolderWalk(path)
        files = sorted(walk.files, key=lambda file: natural_key(file[0]))
    except OSError as error:
        raise ConfigError(
            f'folder {path!r} cannot be read ({error.strerror}); make it readable, or leave it out'
        ) from None
    passed_over.remarks += walk.remarks
    images = []
    for name, full in files:
        extension = PurePath(name).suffix.lower()
        if extension in image_extensions():
            images.append(full)
        else:
            passed_over.files[full] = extension or 'without extension'
    return images
