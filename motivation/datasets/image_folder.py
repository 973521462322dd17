"""Readers of image folders and of tars of image folders."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import dirname, join, normpath
from typing import Any

from PIL import Image, ImageFile

from motivation.datasets.image_files import ImageFiles, are_splits, is_hidden, shortlist
from motivation.datasets.tars import members_of
from motivation.errors import ArgumentError, near_matches


def open_folder(folder: str, class_map: Mapping[Any, int] | None = None, extensions: Any = None) -> ImageFiles:
    """Open an image folder with one subfolder for each class.

    Symbolic links to folders are followed, and no folder is read twice, so that a loop of links does not
    duplicate images. A link to an image counts as an image even if it is broken; it is then unreadable.

    Args:
        folder: Path of the folder.
        class_map: See :class:`~motivation.datasets.image_files.ImageFiles`.
        extensions: See :class:`~motivation.datasets.image_files.ImageFiles`.

    Raises:
        OSError: A folder cannot be read.
        ValueError: There are no images in class folders, or the folders are splits and not classes.
    """
    walk = FolderWalk(folder)
    images = ImageFiles(walk.files, walk.folders, lambda path: f'{folder}/{path}', open_file, class_map, extensions)
    images.remarks += walk.remarks
    return images


def open_file(path: str) -> ImageFile.ImageFile:
    """Open the image of a file without decoding it; close it after use.

    Raises:
        OSError: It cannot be read, or is a pipe, socket or device, from which reading may never end.
        PIL.UnidentifiedImageError: It is not an image.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116, of a name that need not be in UTF-8
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError('it is not a regular file')
    # Read at once, because Pillow asks the file for a header in some forty parts.
    return Image.open(io.BytesIO(Path(path).read_bytes()))


class FolderWalk:
    """All files below a folder that are not hidden.

    Attributes:
        files: Path relative to the folder, with ``/``, and full path.
        folders: Names of the folders directly in it.
        remarks: One clause for each kind of link that was not followed.
    """

    def __init__(self, top: str) -> None:
        self.files: list[tuple[str, str]] = []
        self.folders: list[str] = []
        self._read: set[str] = set()
        self._again: list[str] = []
        self._broken: list[str] = []
        # Folders are visited before links to them, and shallow links before deep ones, so that the order in
        # which the file system lists entries does not decide which of two paths to a folder counts.
        links = self._visit(top, '')
        while links:
            deeper: list[tuple[str, str]] = []
            for path, below in links:
                deeper += self._follow(path, below)
            links = deeper
        kinds = (('not followed, to folders that are read anyway', self._again), ('that are broken', self._broken))
        self.remarks = [f'links {what}: {len(paths):,} ({shortlist(paths)})' for what, paths in kinds if paths]

    def _visit(self, folder: str, below: str) -> list[tuple[str, str]]:
        """Add the files of a folder, recursively, and return its links to folders, to be followed later."""
        real = os.path.realpath(folder)
        if real in self._read:
            return []
        self._read.add(real)
        links = []
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if not is_hidden(entry.name)), key=lambda entry: entry.name)
        for entry in entries:
            path = below + entry.name
            is_folder = entry.is_dir()
            if is_folder and not below:
                self.folders.append(entry.name)
            if is_folder and entry.is_symlink():
                links.append((entry.path, path))
            elif is_folder:
                links += self._visit(entry.path, f'{path}/')
            elif entry.is_symlink() and not entry.is_file() and '.' not in entry.name:
                self._broken.append(path)  # without an extension, so probably to a folder
            elif entry.is_file() or entry.is_symlink():
                self.files.append((path, entry.path))
        return links

    def _follow(self, link: str, path: str) -> list[tuple[str, str]]:
        real, where = os.path.realpath(link), os.path.realpath(Path(link).parent)
        if real in self._read or where == real or where.startswith(real.rstrip(os.sep) + os.sep):
            self._again.append(path)
            return []
        return self._visit(link, f'{path}/')


def open_tar(path: str, split: str, class_map: Mapping[Any, int] | None = None, extensions: Any = None) -> ImageFiles:
    """Open a tar with one folder, or one inner tar, for each class.

    The class folders are those in the folder called ``split``, if there is one. Otherwise the tar is taken to
    hold that split alone, which a remark says, and outer folders that contain a single folder of folders, as in
    a tar of a folder, are skipped.

    Args:
        path: Path of the uncompressed tar.
        split: Name of the split; ``''`` for the whole tar.
        class_map: See :class:`~motivation.datasets.image_files.ImageFiles`.
        extensions: See :class:`~motivation.datasets.image_files.ImageFiles`.

    Raises:
        OSError: The file cannot be read.
        tarfile.TarError: The file is not a whole tar.
        ConfigError: The folders are splits, and none of them is ``split``.
        ValueError: There are no images in class folders, or the folders are splits and not classes.
    """
    with tarfile.open(path, 'r:') as tar:
        members = dict(_members(tar))
    top = _top(path, list(members), split)
    open_file = partial(_open_member, path)
    files = {name[len(top) :]: place for name, place in members.items() if name.startswith(top)}
    folders = dict.fromkeys(name.partition('/')[0] for name in files if '/' in name)
    images = ImageFiles(files.items(), folders, lambda name: f'{path}/{top}{name}', open_file, class_map, extensions)
    if split and PurePosixPath(top).name != split:
        images.remarks.append(f'it has no folder {split!r}, so all of its images are used as that split')
    return images


def _open_member(tar: str, place: tuple[int, int] | None) -> ImageFile.ImageFile:
    if place is None:
        raise OSError('it is a link to a file that is not in the tar')
    with Path(tar).open('rb') as file:  # opened each time, because forked workers would share the file position
        file.seek(place[0])
        return Image.open(io.BytesIO(file.read(place[1])))


def _members(tar: tarfile.TarFile, folder: str = '', offset: int = 0) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield the name of every file that is not hidden, inner tars included, with its offset and size in bytes.

    The offset and size of a broken link are ``None``.
    """
    infos = {normpath(info.name): info for info in members_of(tar)}
    for name, info in infos.items():
        if info.isdir() or any(map(is_hidden, name.split('/'))):
            continue
        target: tarfile.TarInfo | None = info
        if info.islnk():
            target = infos.get(normpath(info.linkname))
        elif info.issym():
            target = infos.get(normpath(join(dirname(name), info.linkname)))
        if target is None or not target.isfile():
            yield folder + name, None
        elif name.endswith('.tar'):
            with tarfile.open(fileobj=tar.extractfile(target), mode='r:') as inner:
                yield from _members(inner, f'{folder}{name.removesuffix(".tar")}/', offset + target.offset_data)
        else:
            yield folder + name, (offset + target.offset_data, target.size)


def _top(tar: str, names: list[str], split: str) -> str:
    """Return the folder that contains the class folders, with a trailing slash; ``''`` for the top of the tar."""
    top = classes = ''
    while True:
        below = [name[len(top) :].split('/') for name in names if name.startswith(top)]
        folders = {parts[0] for parts in below if len(parts) > 1}
        if split and split in folders:
            return f'{top}{split}/'
        if split and are_splits(folders):
            raise ArgumentError(
                'split', f'is {split!r}, but {tar!r} has no folder {split!r}; {near_matches(split, folders)}'
            )
        if len(folders) != 1:
            return classes
        is_wrapping = classes == top and all(len(parts) > 2 for parts in below)
        top += f'{folders.pop()}/'
        classes = top if is_wrapping else classes  # if not, deeper folders may still be splits beside a README
