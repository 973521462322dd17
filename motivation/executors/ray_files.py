"""The files of a run on a node that does not see its work_dir: copies there, kept equal to the originals through Ray.

A keeper on the machine of the comparison reads and writes the originals. A mirror on the node fetches the files that
the run reads, sends every checkpoint as soon as it is written, with the files that belong to it, and everything else at
the end. Files travel in parts, so that memory does not grow with them, and are written whole or not at all.
"""

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Bytes of a part of a file.
PART = 8 * 2**20

# A file with size in bytes and time of the last change in nanoseconds, which say whether it has changed.
Stamp = tuple[int, int]

_REPORT = 'report.json'  # a run with it has finished, so it is sent last


def token_file(folder: Path) -> Path:
    """Return the file by which a node recognises a work_dir."""
    return folder / '.ray_token'


def sees(folder: Path, token: str) -> bool:
    """Return whether a folder of this node is the work_dir into which a token was written."""
    try:
        return token_file(folder).read_text() == token
    except OSError:
        return False


def list_files(folder: Path) -> dict[str, Stamp]:
    """Return the files below a folder by relative path, without hidden ones: locks, tokens, and unfinished files."""
    found: dict[str, Stamp] = {}
    for path in sorted(folder.rglob('*')):
        try:
            stat = path.stat()
        except FileNotFoundError:  # deleted since it was listed
            continue
        if path.is_file() and not path.name.startswith('.'):
            found[path.relative_to(folder).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found


class Keeper:
    """Read and write the files of runs for nodes that do not see them; an actor on the machine of the comparison.

    Each attempt at a run has a number, and an earlier attempt cannot write any more: its node may have lost the
    connection without dying.

    Args:
        root: Folder to which relative paths refer.
        package: Folder that contains this package.
    """

    def __init__(self, root: str, package: str) -> None:
        self.root = Path(root)
        self.attempts: dict[str, int] = {}
        sys.path.append(package)

    def begin(self, folder: str) -> tuple[int, str]:
        """Begin an attempt at the run of a folder, which is locked for it.

        Returns:
            Number of the attempt, or 0 and a sentence if another process uses the folder.
        """
        # Imported where it is used, because Ray sends this class by value.
        from motivation.utils.lock import FolderInUseError, lock_folder

        try:
            lock_folder(self.root / folder)
        except FolderInUseError as error:
            return 0, str(error)
        self.attempts[folder] = self.attempts.get(folder, 0) + 1
        return self.attempts[folder], ''

    def list_files(self, folder: str) -> dict[str, Stamp]:
        """Return the files of a folder, see :func:`list_files`."""
        return list_files(self.root / folder)

    def stamp(self, path: str) -> Stamp:
        """Return the size and time of a file."""
        stat = (self.root / path).stat()
        return stat.st_size, stat.st_mtime_ns

    def read(self, path: str, offset: int) -> bytes:
        """Return a part of a file."""
        with (self.root / path).open('rb') as file:
            file.seek(offset)
            return file.read(PART)

    def write(self, folder: str, attempt: int, name: str, offset: int, part: bytes, stamp: Stamp) -> None:
        """Write a part of a file of a run, which replaces the file once it is complete.

        Args:
            folder: Folder of the run.
            attempt: Number of the attempt.
            name: Path of the file in the folder.
            offset: Place of the part in bytes.
            part: Content.
            stamp: Size and time of the complete file.
        """
        self._require_newest(folder, attempt)
        _write_part(self.root / folder / name, offset, part, stamp)

    def remove(self, folder: str, attempt: int, names: Sequence[str]) -> None:
        """Delete files of a run, which it has deleted on its node."""
        self._require_newest(folder, attempt)
        for name in names:
            (self.root / folder / name).unlink(missing_ok=True)

    def end(self, folder: str, attempt: int) -> None:
        """End an attempt, and unlock the folder."""
        # Imported where it is used, because Ray sends this class by value.
        from motivation.utils.lock import unlock_folder

        self._require_newest(folder, attempt)
        unlock_folder(self.root / folder)

    def _require_newest(self, folder: str, attempt: int) -> None:
        if self.attempts.get(folder) != attempt:
            raise RuntimeError(f"'{folder}' has been started again elsewhere")


def _write_part(path: Path, offset: int, part: bytes, stamp: Stamp, mark: str = '') -> None:
    size, time_ns = stamp
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}{mark}.part')
    with temporary.open('r+b' if offset else 'wb') as file:
        file.seek(offset)
        file.write(part)
        if offset + len(part) < size:
            return
        file.flush()
        os.fsync(file.fileno())
    os.utime(temporary, ns=(time_ns, time_ns))
    temporary.replace(path)


class Mirror:
    """Copies of the files of a run on this node, at the same paths.

    Args:
        keeper: Handle of the :class:`Keeper`.
        directory: Folder of this node to which relative paths refer.
        folder: Folder of the run.
        name: Name of the run.
        origin: Where the originals are, by which copies are told from other folders.
    """

    def __init__(self, keeper: Any, directory: str, folder: str, name: str, origin: str) -> None:
        self.keeper = keeper
        self.directory = Path(directory)
        self.folder = folder
        self.name = name
        self.origin = origin
        self._attempt = 0
        self._claimed: list[Path] = []
        self._config = Path()
        self._sent: dict[str, Stamp] = {}  # files that are equal here and there

    def fetch(self, config: str, reads: Sequence[str]) -> str:
        """Copy what the run reads, and what an earlier attempt has written, to this node.

        Args:
            config: Path of the config.
            reads: Folders of the runs from which it takes files; checkpoints are left out.

        Returns:
            Why the run cannot be executed here, or ``''``.
        """
        deadline = time.monotonic() + 600
        while not self._attempt:
            self._attempt, problem = self._ask('begin', self.folder)
            if not self._attempt:
                if time.monotonic() > deadline:
                    return problem
                time.sleep(1)
        for folder in (self.folder, *reads):
            if not self._claim(self.directory / folder):
                return (
                    f"node {socket.gethostname()!r} has another folder '{self.directory / folder}' than this machine; "
                    'remove it there, or give another --work-dir'
                )
        self._config = self.directory / config
        self._fetch(config, self._ask('stamp', config))
        for folder in reads:
            for name, stamp in self._ask('list_files', folder).items():
                if not _is_checkpoint(name):
                    self._fetch(f'{folder}/{name}', stamp)
        self._sent = self._ask('list_files', self.folder)
        for name in list_files(self._place).keys() - self._sent.keys():  # of an earlier attempt, and since deleted
            (self._place / name).unlink()
        for name, stamp in self._sent.items():
            self._fetch(f'{self.folder}/{name}', stamp)
        return ''

    def send_checkpoints(self) -> None:
        """Send new checkpoints, and before them the other files, which must not be older than a checkpoint."""
        files = list_files(self._place)
        new = [name for name in files if _is_checkpoint(name) and self._sent.get(name) != files[name]]
        if new:
            self._send([name for name in files if not _is_checkpoint(name) and name != _REPORT] + new)

    def finish(self) -> None:
        """Send everything that has changed, and delete the copies."""
        files = list_files(self._place)
        self._send(sorted(files, key=lambda name: (name == _REPORT, _is_checkpoint(name))))
        self._ask('end', self.folder, self._attempt)
        self._config.unlink(missing_ok=True)
        self._remove_empty(self._config.parent)
        for folder in self._claimed:
            self._release(folder)

    @property
    def _place(self) -> Path:
        return self.directory / self.folder

    def _ask(self, method: str, *arguments: Any) -> Any:
        # Not by ray.get, during which Ray would give the processors of this run to another.
        return getattr(self.keeper, method).remote(*arguments).future().result()

    def _fetch(self, path: str, stamp: Stamp) -> None:
        target = self.directory / path
        if target.is_file() and (target.stat().st_size, target.stat().st_mtime_ns) == stamp:
            return
        for offset in range(0, max(stamp[0], 1), PART):
            # Another run may fetch the same file at the same time.
            _write_part(target, offset, self._ask('read', path, offset), stamp, mark=f'.{self.name}')

    def _send(self, names: Sequence[str]) -> None:
        """Send those files of a list that have changed, in order, and have those deleted that are not here any more."""
        for name in names:
            try:
                file = (self._place / name).open('rb')
            except FileNotFoundError:  # deleted since it was listed
                continue
            with file:
                stat = os.fstat(file.fileno())
                stamp = (stat.st_size, stat.st_mtime_ns)
                if self._sent.get(name) == stamp:
                    continue
                for offset in range(0, max(stamp[0], 1), PART):
                    part = file.read(min(PART, stamp[0] - offset))
                    self._ask('write', self.folder, self._attempt, name, offset, part, stamp)
            self._sent[name] = stamp
        gone = [name for name in self._sent if not (self._place / name).exists()]
        if gone:
            self._ask('remove', self.folder, self._attempt, gone)
            for name in gone:
                del self._sent[name]

    def _claim(self, folder: Path) -> bool:
        """Mark a folder as a copy that this run uses; return ``False`` if it holds anything but a copy."""
        with _alone():
            folder.mkdir(parents=True, exist_ok=True)
            markers = [path.read_text() for path in folder.glob('.ray_copy_*')]
            if any(folder.iterdir()) and self.origin not in markers:
                return False
            (folder / f'.ray_copy_{self.name}').write_text(self.origin)
            self._claimed.append(folder)
        return True

    def _release(self, folder: Path) -> None:
        """Delete a folder of copies unless another run uses it."""
        with _alone():
            (folder / f'.ray_copy_{self.name}').unlink(missing_ok=True)
            if not any(folder.glob('.ray_copy_*')):
                shutil.rmtree(folder)
                self._remove_empty(folder.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.directory and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _is_checkpoint(name: str) -> bool:
    return name.startswith('epoch_') and name.endswith('.pth')


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other runs of this node waiting."""
    # Imported where it is used, because Windows, which can be no node, lacks it.
    import fcntl

    with Path(tempfile.gettempdir(), f'motivation_ray_{os.getuid()}.lock').open('a') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
