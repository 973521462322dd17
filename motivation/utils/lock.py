"""One process at a time in a folder of results."""

import fcntl
import os
import socket
from pathlib import Path
from typing import TextIO

from motivation.errors import ConfigError

LOCK_NAME = '.lock'

# What this process has locked; the locks last until it ends, in whatever way.
_HELD: dict[Path, TextIO] = {}


class FolderInUseError(ConfigError):
    """Another process holds a folder."""


def lock_folder(folder: Path) -> None:
    """Keep other processes that ask for it out of a folder until this process ends.

    Args:
        folder: Exists.

    Raises:
        FolderInUseError: Another process holds it.
    """
    folder = folder.resolve()
    if folder in _HELD:
        return
    file = (folder / LOCK_NAME).open('a+')
    try:
        # Of the process, and so not inherited by its data-loading workers, which may outlive it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
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
    """Let other processes into a folder again, if this one holds it."""
    file = _HELD.pop(folder.resolve(), None)
    if file is not None:
        file.close()
