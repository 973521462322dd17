"""The image files of a folder, and of a tar."""

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import dirname, join, normpath
from typing import Any

from PIL import Image

from motivation.datasets.image_files import ImageFiles, are_splits, is_hidden, some
from motivation.errors import ArgumentError, near_matches


def open_folder(folder: str, class_map: Mapping[Any, int] | None = None, extensions: Any = None) -> ImageFiles:
    """Open a folder with one folder a class.

    Links to folders are followed, and no folder is read twice, so that a loop of links does not multiply
    images; a link to an image is an image, if only to be named as one that cannot be read.

    Args:
        folder: Its path.
        class_map: As of :class:`~motivation.datasets.image_files.ImageFiles`.
        extensions: Likewise.

    Raises:
        OSError: A folder cannot be read.
        ValueError: There are no images in class folders, or the folders are no classes.
    """
    walk = _Walk(folder)
    images = ImageFiles(walk.files, walk.folders, lambda path: f'{folder}/{path}', Image.open, class_map, extensions)
    images.remarks += walk.remarks
    return images


class _Walk:
    """Every file below a folder that is not hidden.

    Attributes:
        files: Path below the folder with ``/``, and path.
        folders: Names of the folders directly in it.
        remarks: Links that were not followed.
    """

    def __init__(self, top: str) -> None:
        self.files: list[tuple[str, str]] = []
        self.folders: list[str] = []
        self._read: set[str] = set()
        self._again: list[str] = []
        self._broken: list[str] = []
        # Folders themselves come before links to them, and near links before far ones: which of two paths
        # to a folder counts does not depend on the order in which the file system lists them.
        links = self._visit(top, '')
        while links:
            deeper: list[tuple[str, str]] = []
            for path, below in links:
                deeper += self._follow(path, below)
            links = deeper
        kinds = (('not followed, to a folder that is read anyway', self._again), ('that lead nowhere', self._broken))
        self.remarks = [f'links {what}: {len(paths):,} ({some(paths)})' for what, paths in kinds if paths]

    def _visit(self, folder: str, below: str) -> list[tuple[str, str]]:
        """Take in a folder and those in it; returns its links to folders, to be followed later."""
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
                self._broken.append(path)  # to a folder, by its name
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
    """Open a tar with one folder, or one tar, a class.

    Its top is the folder called ``split``, if there is one. Else folders that hold nothing but one folder
    of folders, as a tar of a folder does, are taken for wrapping, and a remark says that there is no such
    folder, for the tar may hold that split alone.

    Args:
        path: Path of the tar, which is not compressed.
        split: Name of the part of the data.
        class_map: As of :class:`~motivation.datasets.image_files.ImageFiles`.
        extensions: Likewise.

    Raises:
        OSError: The file cannot be read.
        tarfile.TarError: It is no tar.
        ConfigError: Its folders are splits, and ``split`` is none of them.
        ValueError: There are no images in class folders, or the folders are no classes.
    """
    with tarfile.open(path, 'r:') as tar:
        members = dict(_members(tar))
    top = _top(path, list(members), split)
    open_file = partial(_open_member, path)
    files = {name[len(top) :]: place for name, place in members.items() if name.startswith(top)}
    folders = dict.fromkeys(name.partition('/')[0] for name in files if '/' in name)
    images = ImageFiles(files.items(), folders, lambda name: f'{path}/{top}{name}', open_file, class_map, extensions)
    if split and PurePosixPath(top).name != split:
        images.remarks.append(f'it has no folder {split!r}, and all of its images are taken for that split')
    return images


def _open_member(tar: str, place: tuple[int, int] | None) -> Image.Image:
    if place is None:
        raise OSError('it is a link to what is not in the tar')
    with Path(tar).open('rb') as file:  # anew each time, for processes would share where it stands
        file.seek(place[0])
        return Image.open(io.BytesIO(file.read(place[1])))


def _members(tar: tarfile.TarFile, folder: str = '', offset: int = 0) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Name of every file that is not hidden, with where it begins and how long it is; also in tars of a tar."""
    infos = {normpath(info.name): info for info in tar}
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
    """The folder whose folders are the classes, with a slash at its end; ``''`` for all of the tar."""
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
        classes = top if is_wrapping else classes  # else splits may still be beside files, such as a README
