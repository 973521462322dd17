"""A lock that allows one process at a time in a folder of results."""

import os
import socket
from pathlib import Path
from typing import TextIO

from motivation.errors import ConfigError
from motivation.utils.portable import lock_file

LOCK_NAME = '.lock'

# Folders that this process has locked. The operating system releases the locks when the process ends, even if killed.
_HELD: dict[Path, TextIO] = {}


class FolderInUseError(ConfigError):
    """An error about a folder that another process has locked."""


def lock_folder(folder: Path) -> None:
    """Lock a folder until this process ends; locking it again in the same process does nothing.

    Args:
        folder: An existing folder.

    Raises:
        FolderInUseError: Another process has locked the folder.
    """
    folder = folder.resolve()
    if folder in _HELD:
        return
    file = (folder / LOCK_NAME).open('a+')
    try:
        lock_file(file)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read() or 'another process'
        file.close()
        raise FolderInUseError(
            f"'{folder}' is in use by {holder}; wait for its end, stop it, or name another --work-dir"
        ) from error
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    _HELD[folder] = file


def unlock_folder(folder: Path) -> None:
    """Release the lock on a folder, if this process holds it."""
    file = _HELD.pop(folder.resolve(), None)
    if file is not None:
        file.close()


def lock_holder(folder: Path) -> str | None:
    """Return which other process has locked a folder, such as ``'process 12 on node3'``, or ``None`` if none has."""
    if folder.resolve() in _HELD:  # opening and closing the file would release the lock of this process
        return None
    try:
        file = (folder / LOCK_NAME).open('r+')
    except FileNotFoundError:
        return None
    with file:
        try:
            lock_file(file)
        except BlockingIOError:
            return file.read() or 'another process'
    return None
