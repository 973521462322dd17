"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file: under another name, flushed to the disk, then renamed over ``path``.

    Whenever the machine stops, ``path`` is the old file or the new one, never half of one. Where
    writing fails, nothing is left of the new one.

    Args:
        path: The file.
        write: Called with the open file.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(f'.{path.name}.part')
    try:
        with temporary.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
