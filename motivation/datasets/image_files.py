"""Image files sorted into classes by the folders they lie in, with a remark on every file that is left out."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from PIL import Image, ImageFile

from motivation.errors import ArgumentError

# Pillow names these formats and has no decoder for them, with or without a handler of the user's.
_NOT_DECODED = {'MPEG'}

# Pillow opens these formats by another one's plugin: several JPEGs in a file begin as one.
_OPENED_AS = {'MPO': 'JPEG'}

# What a Mac puts into its archives, and a NAS beside its images.
_HIDDEN = {'__MACOSX', '@eaDir'}

# Folders of these names hold parts of the data and not classes.
_SPLITS = {'train', 'training', 'val', 'valid', 'validation', 'eval', 'evaluation', 'test', 'testing'}

# Names that a remark gives of each kind.
_SHOWN = 5


class ImageFiles(Sequence[tuple[Image.Image, int]]):
    """Images with the class of the folder that they lie in, decoded when asked for.

    The folders at the top are the classes, and what lies deeper belongs to them. Classes are numbered in
    natural order of their names (2 before 10), which are compared in Unicode's composed form (NFC); a
    folder without images keeps its number. Images are in natural order of their paths.

    Args:
        files: Path below the top with ``/``, and what ``open_file`` takes, of every file that is not hidden.
        folders: Names of the folders at the top.
        call: Returns what messages call the file of a path.
        open_file: Opens an image.
        class_map: Index by name of the folder, in the place of their order; what it does not name is left out.
        extensions: Of image files, in lower case with the dot, as ``dataset.input_key`` has them; ``None`` for
            those that Pillow reads.

    Attributes:
        samples: What messages call each image, and its class index.
        class_to_idx: Class index by name.
        remarks: What was left out, a clause for each kind.

    Raises:
        ConfigError: No file has one of the extensions.
        ValueError: There are no images in class folders, or the folders are no classes.
    """

    def __init__(
        self,
        files: Iterable[tuple[str, Any]],
        folders: Iterable[str],
        call: Callable[[str], str],
        open_file: Callable[[Any], Image.Image],
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
                self.samples.append((call(path), self.class_to_idx[composed(folder)]))
                self._handles.append(handle)
        self._open_file = open_file
        used = {target for _, target in self.samples}
        empty = [name for name, index in self.class_to_idx.items() if index not in used]
        self.remarks = _remarks(passed_over, loose, unmapped, empty)
        if len(names) > 1 and not class_map and are_splits(names):
            raise ValueError(f'its folders {some(names)} are no classes; name one of them as split')
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

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:  # type: ignore[override]
        with self._open_file(self._handles[index]) as image:
            image.load()
        return image, self.samples[index][1]


@cache
def image_extensions() -> frozenset[str]:
    """Extensions of the files that the installed Pillow decodes, in lower case with the dot."""
    Image.init()

    def decodes(name: str) -> bool:
        opener = _OPENED_AS.get(name, name)
        factory = Image.OPEN[opener][0] if opener in Image.OPEN else ImageFile.StubImageFile
        is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return not is_stub and name not in _NOT_DECODED

    return frozenset(extension for extension, name in Image.registered_extensions().items() if decodes(name))


def composed(name: str) -> str:
    """A name in the one Unicode form in which names are compared and stored."""
    return normalize('NFC', name)


def natural_key(path: str) -> tuple[list[str | int], str]:
    """What sorts names as people do: numbers by value and letters whatever their case."""
    parts: list[str | int] = list(re.split(r'(\d+)', composed(path).lower()))
    parts[1::2] = map(int, parts[1::2])
    return parts, composed(path)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, as is what computers leave beside files: ``._name``, ``@eaDir``."""
    return name in _HIDDEN or (name.startswith('.') and name not in ('.', '..'))


def are_splits(folders: Iterable[str]) -> bool:
    """Whether there are folders, and all of them hold parts of the data by their names."""
    names = {name.lower() for name in folders}
    return bool(names) and names <= _SPLITS


def _composed(folders: Iterable[str]) -> list[str]:
    names: dict[str, str] = {}
    for folder in folders:
        if any('\ud800' <= letter <= '\udfff' for letter in folder):  # which stand for bytes
            raise ValueError(f'the name of its folder {folder!a} is not in UTF-8; rename it')
        other = names.setdefault(composed(folder), folder)
        if other != folder:
            raise ValueError(f'its folders {other!a} and {folder!a} are one name in two forms; rename one')
    return list(names)


def _remarks(
    passed_over: Counter[str], loose: Sequence[str], unmapped: Counter[str], empty: Sequence[str]
) -> list[str]:
    remarks = []
    if passed_over:
        remarks.append(f'files passed over, no images: {passed_over.total():,} ({_counted(passed_over)})')
    if loose:
        remarks.append(f'images passed over, outside of class folders: {len(loose):,} ({some(loose)})')
    if unmapped:
        remarks.append(f'images passed over, of folders that class_map lacks: {unmapped.total():,} ({some(unmapped)})')
    if empty:
        remarks.append(f'classes without images: {len(empty):,} ({some(empty)})')
    return remarks


def _counted(extensions: Counter[str]) -> str:
    return ', '.join(f'{extension} {count:,}' for extension, count in extensions.most_common())


def some(names: Iterable[str]) -> str:
    """The first few names, for a sentence."""
    shown = list(names)
    return ', '.join(map(repr, shown[:_SHOWN])) + (', ...' if len(shown) > _SHOWN else '')
