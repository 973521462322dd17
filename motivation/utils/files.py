"""Atomic writing of files, their digests, and reading JSON."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from motivation.errors import ConfigError
from motivation.utils.portable import sync_folder


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
    sync_folder(path.parent)


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


def read_object(path: Path, way_out: str) -> dict[str, Any]:
    """Read a file that holds an object of JSON.

    Args:
        path: Path of the file.
        way_out: What the error message advises.

    Raises:
        ConfigError: It holds something else.
        OSError: The file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' is damaged: it is not JSON; {way_out}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"'{path}' is damaged: it is not an object of JSON; {way_out}")
    return content
