"""Preparing the config of a command: its work_dir and checkpoint."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.errors import ConfigError
from motivation.utils.checkpoint import find_checkpoints, name_checkpoints, newest_whole, require_file
from motivation.utils.distributed import decide_once
from motivation.utils.lock import FolderInUseError, lock_folder
from motivation.utils.new_folders import require_writable

LATEST, AUTO = 'latest', 'auto'


def prepare_training(
    path: str,
    work_dir: str | None = None,
    resume: str | None = None,
    options: dict[str, Any] | None = None,
    allow_changes: bool = False,
) -> Config:
    """Return the config of a training run, with its work_dir and the checkpoint to resume.

    The work_dir stays locked until this process ends.

    Args:
        path: A config file.
        work_dir: Folder of the results; ``None`` (default) for the config's ``work_dir``, else ``work_dirs/<config>``,
            or ``work_dirs/<config>-2`` and so on if that holds a run.
        resume: Checkpoint to resume, whose folder is the default work_dir; ``'latest'`` for the newest readable one of
            the work_dir; ``'auto'`` for the same, or a new run if there is none; ``None`` (default) for a new run.
            Newer corrupted checkpoints are renamed.
        options: Values by dotted field name that override the config's.
        allow_changes: Whether to resume although the config differs from the checkpoint's, or to load the weights of
            ``load_from`` although its classes differ.

    Raises:
        ConfigError: The config is missing or invalid, the work_dir already holds a run, is in use or cannot be
            written, or there is nothing to resume.
    """
    if work_dir == '':
        raise ConfigError("--work-dir is ''; name a folder, or leave it out")
    config = load_config(path, options)
    named = work_dir or config.get('work_dir')
    folder, checkpoint = decide_once(lambda: _place(path, named, resume))
    config.work_dir = str(folder)
    if allow_changes:
        config.allow_changes = True
    if checkpoint is not None:
        config.resume, config.load_from = True, str(checkpoint)
    return config


def _place(path: str, named: str | None, resume: str | None) -> tuple[Path, Path | None]:
    """Return the work_dir, locked, and the checkpoint to resume, if any."""
    if resume is None:
        return _begin(path, named), None
    if resume not in (LATEST, AUTO):
        if not Path(resume).is_file():
            what = 'is a folder' if Path(resume).is_dir() else 'does not exist'
            raise ConfigError(f'--resume {resume!r} {what}; {name_checkpoints(Path(resume))}')
        folder = Path(named) if named else Path(resume).parent
        _claim(folder)
        _require_newest(folder, Path(resume))
        return folder, Path(resume)
    work_dir = Path(named) if named else _newest_default_folder(path)
    if work_dir is None or not find_checkpoints(work_dir):
        if resume == AUTO:
            return _begin(path, named), None
        if work_dir is None:
            raise ConfigError(
                f"--resume finds no run under 'work_dirs/{Path(path).stem}'; name its folder with --work-dir"
            )
        raise ConfigError(
            f"--resume finds no epoch_<n>.pth in work_dir '{work_dir}'; leave --resume out to start a new run"
        )
    _claim(work_dir)
    return work_dir, _newest_whole(work_dir)


def _newest_whole(folder: Path) -> Path:
    """Return the newest readable checkpoint, and rename newer corrupted ones."""
    newest, damaged = newest_whole(find_checkpoints(folder))
    if newest is None:
        raise ConfigError(
            f"every checkpoint of work_dir '{folder}' is damaged: {', '.join(path.name for path in damaged)}; start a new run "
            'in another --work-dir'
        )
    for path in damaged:
        renamed = path.with_name(f'{path.name}.damaged')
        path.replace(renamed)
        print(f"'{path}' is damaged and renamed to '{renamed.name}'; resuming from '{newest.name}'", file=sys.stderr)
    return newest


def _begin_in(folder: Path) -> Path:
    if _holds_run(folder):
        raise ConfigError(
            f"work_dir '{folder}' already holds a run; continue it with --resume, or name another --work-dir"
        )
    _claim(folder)
    return folder


def _begin(path: str, named: str | None) -> Path:
    """Return the folder of a new run, locked: the named one, or the first default one without a run."""
    if named:
        return _begin_in(Path(named))
    for folder in _default_folders(path):
        if not _holds_run(folder):
            try:
                return _begin_in(folder)
            except FolderInUseError:  # a run that has saved nothing yet
                continue
    raise AssertionError('there is always another number')


def prepare_check(path: str, options: dict[str, Any] | None = None, picture: str | None = None) -> Config:
    """Return the config of a ``--check`` run, which writes to a temporary folder.

    Args:
        path: A config file.
        options: Values by dotted field name that override the config's.
        picture: File for a picture of the first batch, which is replaced if it exists; ``None`` (default) for none.

    Raises:
        ConfigError: The config is missing or invalid, or the picture cannot be written.
    """
    if picture is not None and Path(picture).suffix.lower() != '.png':
        raise ConfigError(f'--picture must be a file named .png, got {picture!r}')
    if picture is not None and not (Path(picture).parent.is_dir() and os.access(Path(picture).parent, os.W_OK)):
        raise ConfigError(f'--picture {picture!r} is in a folder that cannot be written; create it, or name another')
    config = load_config(path, options)
    check_config(config)
    config.train_cfg.pop('by_epoch', None)
    config.train_cfg.type = 'CheckLoop'
    if picture is not None:
        config.train_cfg.picture = picture
    config.work_dir = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, config.work_dir, ignore_errors=True)
    return config


def prepare_test(
    path: str, checkpoint: str, models: list[str] | None = None, options: dict[str, Any] | None = None
) -> Config:
    """Return the config for the evaluation of a checkpoint.

    Args:
        path: The config file that the checkpoint was trained with.
        checkpoint: Path of the checkpoint, or of a work_dir for its newest readable one.
        models: ``'base'`` or ``'motivated'`` or both; ``None`` (default) for both.
        options: Values by dotted field name that override the config's.

    Raises:
        ConfigError: The config is missing or invalid, the checkpoint is missing, or its folder cannot be written.
    """
    config = load_config(path, options)
    if Path(checkpoint).is_dir():
        checkpoint = str(_newest_of(Path(checkpoint)))
    require_file(Path(checkpoint))
    config.work_dir = str(Path(checkpoint).parent / 'test')
    require_writable(Path(config.work_dir), 'work_dir', '--work-dir')
    config.load_from, config.resume = checkpoint, False
    if models:
        config.test_cfg.models = models
    return config


def _newest_of(folder: Path) -> Path:
    newest, damaged = newest_whole(find_checkpoints(folder))
    if newest is None:
        why = f'only damaged ones, {", ".join(path.name for path in damaged)}' if damaged else 'no epoch_<n>.pth'
        raise ConfigError(f"checkpoint '{folder}' is a folder with {why}; name a checkpoint, or the work_dir of a run")
    return newest


def _default_folders(path: str) -> Iterator[Path]:
    first = Path('work_dirs') / Path(path).stem
    yield first
    for number in count(2):
        yield first.with_name(f'{first.name}-{number}')


def _holds_run(folder: Path) -> bool:
    return bool(find_checkpoints(folder)) or (folder / 'report.json').exists()


def _newest_default_folder(path: str) -> Path | None:
    folders = list(takewhile(_holds_run, _default_folders(path)))
    return folders[-1] if folders else None


def _require_newest(folder: Path, checkpoint: Path) -> None:
    """Check that a checkpoint is the newest of a work_dir, so that resuming from it overwrites nothing."""
    newest, _ = newest_whole(find_checkpoints(folder))
    if newest is not None and newest.resolve() != checkpoint.resolve():
        raise ConfigError(
            f"work_dir '{folder}' holds '{newest.name}' beside the checkpoint to resume, '{checkpoint}'; "
            'name a new --work-dir to branch off from there, or resume from the newest'
        )


def _claim(folder: Path) -> None:
    """Create a folder if needed, and lock it."""
    require_writable(folder, 'work_dir', '--work-dir')
    lock_folder(folder)
