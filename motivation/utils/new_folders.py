"""Folders made for a run before it is known whether it can begin; a refused one leaves none behind."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from motivation.errors import ConfigError
from motivation.utils.lock import LOCK_NAME, unlock_folder

# The folders that this process has made for a work_dir, the innermost first.
_MADE: dict[Path, list[Path]] = {}


def make_folder(folder: Path) -> None:
    """Make a folder and those around it if need be, and remember which were made.

    Args:
        folder: A work_dir.

    Raises:
        OSError: It cannot be made.
    """
    missing = [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if missing:
        _MADE[folder.resolve()] = missing


def keep_folder(folder: Path) -> None:
    """Leave a folder where it is from now on."""
    if _MADE:  # asked for after every batch
        _MADE.pop(folder.resolve(), None)


@contextmanager
def removed_if_refused(folder: Path, config_name: str) -> Iterator[None]:
    """Remove a folder that this process made for a run whose config is refused; nothing else in it is touched.

    Args:
        folder: The work_dir.
        config_name: What the config is called in it.
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
        for path in made:
            with suppress(OSError):  # it has something else in it
                path.rmdir()
        raise


def _close_logs(folder: Path) -> None:
    """Close what MMEngine has open in a folder, which would be written at the end of the process."""
    for visualizer in Visualizer._instance_dict.values():
        for backend in visualizer._vis_backends.values():
            if folder in Path(backend._save_dir).resolve().parents:
                backend.close()
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and folder in Path(handler.baseFilename).resolve().parents:
                logger.removeHandler(handler)
                handler.close()
