"""Folders that are created before a config is fully checked, and removed again if it is refused."""

import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from motivation.errors import ConfigError
from motivation.utils.lock import LOCK_NAME, unlock_folder

# Folders that this process has created for a work_dir, the innermost first.
_MADE: dict[Path, list[Path]] = {}


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and remember which were created.

    Args:
        folder: A work_dir.

    Raises:
        OSError: The folder cannot be created.
    """
    missing = [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if missing:
        _MADE[folder.resolve()] = missing


def require_writable(folder: Path, name: str, option: str, keep: bool = True) -> None:
    """Check that files can be written in a folder, which is created if needed.

    Args:
        folder: The folder.
        name: What the user knows it as, for the message: ``'work_dir'``.
        option: The option of the command that names another.
        keep: Whether a folder that was created stays. Default: ``True``.

    Raises:
        ConfigError: Nothing can be written there.
    """
    try:
        make_folder(folder)
        probe = folder / '.writable'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{name} '{folder}' cannot be written ({error.strerror}); name another with {option}"
        ) from error
    if not keep:
        _remove_empty(_MADE.pop(folder.resolve(), []))


def keep_folder(folder: Path) -> None:
    """Keep a folder even if the config is refused later."""
    if _MADE:  # called after every batch, and resolving a path is slow
        _MADE.pop(folder.resolve(), None)


@contextmanager
def removed_if_refused(folder: Path, config_name: str) -> Iterator[None]:
    """Remove a folder that this process created if the config turns out to be invalid.

    Only the logs, the lock and the config that the run wrote are deleted; a folder with other files is kept.

    Args:
        folder: The work_dir.
        config_name: File name of the config in it.
    """
    try:
        yield
    except ConfigError:
        made = _MADE.pop(folder.resolve(), [])
        if made:
            _close_logs(folder.resolve())
            unlock_folder(folder)
            for path in (*folder.glob('*/'), folder / LOCK_NAME, folder / config_name):
                if re.fullmatch(r'\d{8}_\d{6}', path.name):  # a folder of logs
                    shutil.rmtree(path)
                elif path.is_file():
                    path.unlink()
        _remove_empty(made)
        raise


def _remove_empty(folders: Iterable[Path]) -> None:
    for path in folders:
        with suppress(OSError):  # the folder contains other files
            path.rmdir()


def _close_logs(folder: Path) -> None:
    """Close the files that MMEngine has open in a folder, which it would otherwise write to at exit."""
    for visualizer in Visualizer._instance_dict.values():
        for backend in visualizer._vis_backends.values():
            if folder in Path(backend._save_dir).resolve().parents:
                backend.close()
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and folder in Path(handler.baseFilename).resolve().parents:
                logger.removeHandler(handler)
                handler.close()
