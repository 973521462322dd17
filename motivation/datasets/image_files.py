"""Image files labelled by folder, with remarks on the files that are left out."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from PIL import Image, ImageFile

from motivation.errors import ArgumentError

# Formats that Pillow registers but cannot decode, with or without a handler that the user installs.
_NOT_DECODED = {'MPEG'}

# Formats that Pillow opens with the plugin of another: a file of several JPEGs begins as one JPEG.
_OPENED_AS = {'MPO': 'JPEG'}

# Folders of metadata that macOS adds to archives and Synology devices add beside images.
_HIDDEN = {'__MACOSX', '@eaDir'}

# Folder names that mean splits of a dataset and not classes.
_SPLITS = {'train', 'training', 'val', 'valid', 'validation', 'eval', 'evaluation', 'test', 'testing'}

# Number of names that a remark lists.
_SHOWN = 5


class ImageFiles(Sequence[tuple[Image.Image, int]]):
    """Images labelled by their top-level folder, decoded on access.

    Each top-level folder is a class, and images may lie at any depth inside it. Classes are numbered in natural
    order of their names (2 before 10), compared in Unicode normal form C; a folder without images keeps its
    number. Images are in natural order of their paths.

    Args:
        files: Relative path with ``/`` and handle, which is the argument of ``open_file``, of every file that is
            not hidden.
        folders: Names of the top-level folders.
        name_of: Returns the name of a file in messages, given its relative path.
        open_file: Opens the image of a handle.
        class_map: Class index by folder name, instead of the natural order; folders it lacks are left out.
        extensions: Extensions of image files (``dataset.input_key``), in lower case with the dot; ``None``
            (default) for every extension that Pillow decodes.

    Attributes:
        samples: Name and class index of each image.
        class_to_idx: Class index by name.
        remarks: One clause for each kind of file or folder that was left out.

    Raises:
        ConfigError: No file has one of the extensions.
        ValueError: There are no images in class folders, or the folders are splits and not classes.
    """

    def __init__(
        self,
        files: Iterable[tuple[str, Any]],
        folders: Iterable[str],
        name_of: Callable[[str], str],
        open_file: Callable[[Any], ImageFile.ImageFile],
        class_map: Mapping[Any, int] | None = None,
        extensions: Sequence[str] | None = None,
    ) -> None:
        names = _composed(folders)
        if class_map:
            self.class_to_idx = {composed(str(name)): index for name, index in class_map.items()}
        else:
            self.class_to_idx = {name: index for index, name in enumerate(sorted(names, key=natural_key))}
        known = image_extensions() if extensions is None else frozenset(extensions)
        passed_over: Counter[str] = Counter()
        unmapped: Counter[str] = Counter()
        loose: list[str] = []
        self.samples: list[tuple[str, int]] = []
        self._handles: list[Any] = []
        for path, handle in sorted(files, key=lambda file: natural_key(file[0])):
            folder, _, below = path.partition('/')
            extension = PurePosixPath(path).suffix.lower()
            if extension not in known:
                passed_over[extension or 'without extension'] += 1
            elif not below:
                loose.append(path)
            elif composed(folder) not in self.class_to_idx:
                unmapped[folder] += 1
            else:
                self.samples.append((name_of(path), self.class_to_idx[composed(folder)]))
                self._handles.append(handle)
        self._open_file = open_file
        used = {target for _, target in self.samples}
        empty = [name for name, index in self.class_to_idx.items() if index not in used]
        self.remarks = _remarks(passed_over, loose, unmapped, empty)
        if len(names) > 1 and not class_map and are_splits(names):
            raise ValueError(f'its folders {shortlist(names)} are splits, not classes; name one of them as split')
        if extensions is not None and passed_over and not (self.samples or loose or unmapped):
            raise ArgumentError(
                'input_key',
                f'is {";".join(extensions)!r}, which none of the {passed_over.total():,} files has; there '
                f'is {_counted(passed_over)}',
            )
        if not self.samples:
            raise ValueError('; '.join(['Found 0 images in class folders', *self.remarks]))

    def __len__(self) -> int:
        return len(self.samples)

    def open(self, index: int) -> ImageFile.ImageFile:
        """Open an image without decoding it; close it after use."""
        return self._open_file(self._handles[index])

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:  # type: ignore[override]
        with self.open(index) as image:
            image.load()
        return image, self.samples[index][1]


@cache
def image_extensions() -> frozenset[str]:
    """Return the file extensions that the installed Pillow decodes, in lower case with the dot."""
    Image.init()

    def decodes(name: str) -> bool:
        opener = _OPENED_AS.get(name, name)
        factory = Image.OPEN[opener][0] if opener in Image.OPEN else ImageFile.StubImageFile
        is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return not is_stub and name not in _NOT_DECODED

    return frozenset(extension for extension, name in Image.registered_extensions().items() if decodes(name))


def composed(name: str) -> str:
    """Return a name in Unicode normal form C, in which names are compared and stored."""
    return normalize('NFC', name)


def natural_key(path: str) -> tuple[list[str | int], str]:
    """Return a sort key for natural order: numbers by value, letters regardless of case."""
    parts: list[str | int] = list(re.split(r'(\d+)', composed(path).lower()))
    parts[1::2] = map(int, parts[1::2])
    return parts, composed(path)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or system metadata, such as ``._name`` or ``@eaDir``."""
    return name in _HIDDEN or (name.startswith('.') and name not in ('.', '..'))


def are_splits(folders: Iterable[str]) -> bool:
    """Return whether there are folders and all are named like splits (train, val, test, ...)."""
    names = {name.lower() for name in folders}
    return bool(names) and names <= _SPLITS


def _composed(folders: Iterable[str]) -> list[str]:
    names: dict[str, str] = {}
    for folder in folders:
        if any('\ud800' <= letter <= '\udfff' for letter in folder):  # surrogates: bytes that do not decode
            raise ValueError(f'the name of its folder {folder!a} is not in UTF-8; rename it')
        other = names.setdefault(composed(folder), folder)
        if other != folder:
            raise ValueError(f'its folders {other!a} and {folder!a} are the same name in two Unicode forms; rename one')
    return list(names)


def _remarks(
    passed_over: Counter[str], loose: Sequence[str], unmapped: Counter[str], empty: Sequence[str]
) -> list[str]:
    remarks = []
    if passed_over:
        remarks.append(remark_on_others(passed_over))
    if loose:
        remarks.append(f'images skipped, outside of class folders: {len(loose):,} ({shortlist(loose)})')
    if unmapped:
        remarks.append(f'images skipped, in folders that class_map lacks: {unmapped.total():,} ({shortlist(unmapped)})')
    if empty:
        remarks.append(f'classes without images: {len(empty):,} ({shortlist(empty)})')
    return remarks


def remark_on_others(extensions: Counter[str]) -> str:
    """Return the clause about files that are not images, by their number of each extension."""
    return f'files skipped, not images: {extensions.total():,} ({_counted(extensions)})'


def _counted(extensions: Counter[str]) -> str:
    return ', '.join(f'{extension} {count:,}' for extension, count in extensions.most_common())


def shortlist(names: Iterable[str]) -> str:
    """Return the first few names, quoted and joined by commas, for a message."""
    shown = list(names)
    return ', '.join(map(repr, shown[:_SHOWN])) + (', ...' if len(shown) > _SHOWN else '')
