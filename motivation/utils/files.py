"""Atomic writing of files, and their digests."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file atomically: to a temporary file, flushed to the disk, which then replaces ``path``.

    If the machine stops, ``path`` is the old file or the complete new one. If writing fails, the temporary file is
    removed.

    Args:
        path: Path of the file.
        write: Writes the contents to the open file that it is called with.

    Raises:
        OSError: The file cannot be written.
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


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, reading a part of it at a time.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a renamed file survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
