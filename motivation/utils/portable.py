"""What operating systems do differently: file locks, signals, flushing of folders; the only place that asks which it is."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

# Byte that Windows locks, far behind the text: a locked byte cannot be read by others.
_LOCKED_BYTE = 2**30

# Slurm's warning before it stops and restarts a job; Windows has no such signal.
WARNING_SIGNAL: signal.Signals | None = getattr(signal, 'SIGUSR1', None)


def lock_file(file: IO[Any]) -> None:
    """Lock an open file until it is closed or this process ends, even if killed.

    Args:
        file: A file that is open for writing.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    try:
        if fcntl is not None:
            # lockf and not flock: its locks are not inherited by data-loader workers, which may outlive this process.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        position = file.tell()
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(position)
    except (BlockingIOError, PermissionError) as error:
        raise BlockingIOError(*error.args) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a renamed file survives a loss of power; Windows cannot and need not."""
    if os.name == 'nt':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def before_fork(function: Callable[[], None]) -> None:
    """Have a function called whenever this process is about to fork, where processes can."""
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(before=function)


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as its parent ends, even if killed; only Linux can.

    Args:
        parent: Process ID of the parent. This process ends at once if it has already lost it.
    """
    if not sys.platform.startswith('linux'):
        return
    set_signal_of_parent_death = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_signal_of_parent_death, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
