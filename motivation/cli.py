"""From a command line to a config that is ready to build: what is run, where, and from where on."""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.errors import ConfigError
from motivation.utils.checkpoint import find_checkpoints, newest_whole, require_file
from motivation.utils.distributed import decide_once
from motivation.utils.lock import FolderInUseError, lock_folder
from motivation.utils.new_folders import make_folder

LATEST, AUTO = 'latest', 'auto'


class Options(DictAction):
    """``KEY=VALUE ...`` of a command line, as a dict."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Parse the values of one occurrence.

        Raises:
            ConfigError: They are not of that form.
        """
        try:
            super().__call__(*args, **kwargs)
        except Exception as error:  # MMEngine raises whatever its parser stumbles on
            raise ConfigError('--cfg-options takes KEY=VALUE ..., such as motivation.policy.drops=3') from error


def prepare_training(
    path: str,
    work_dir: str | None = None,
    resume: str | None = None,
    options: dict[str, Any] | None = None,
    allow_changes: bool = False,
) -> Config:
    """Read the config of a training run and decide on its work_dir and its beginning.

    The work_dir is this process's until it ends.

    Args:
        path: A config file.
        work_dir: Folder of the results; ``None`` takes the config's ``work_dir``, or else
            ``work_dirs/<config>``, or ``work_dirs/<config>-2`` and so on if that holds a run.
        resume: Checkpoint to continue from (its folder is the work_dir, unless one is named),
            ``'latest'`` for the newest whole one of the work_dir, ``'auto'`` for the same, or to begin
            anew if there is none; ``None`` to begin anew. Damaged ones after it are put aside.
        options: Values by dotted field name that override the config's.
        allow_changes: Whether to resume though the config differs from the checkpoint's, or to begin with
            the weights of ``load_from`` though its classes have other names.

    Raises:
        ConfigError: The config is missing or wrong, the work_dir holds what would be overwritten,
            cannot be written or is in use, or there is nothing to resume.
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
    """The work_dir, claimed, and the checkpoint to resume, if any."""
    if resume is None:
        return (_begin_in(Path(named)) if named else _begin_in_default(path)), None
    if resume not in (LATEST, AUTO):
        if not Path(resume).is_file():
            raise ConfigError(f'--resume {resume!r} does not exist; give the path of an epoch_<n>.pth')
        folder = Path(named) if named else Path(resume).parent
        _claim(folder)
        _require_newest(folder, Path(resume))
        return folder, Path(resume)
    held = Path(named) if named else _newest_default_folder(path)
    if held is None or not find_checkpoints(held):
        if resume == AUTO:
            return (_begin_in(Path(named)) if named else _begin_in_default(path)), None
        if held is None:
            raise ConfigError(
                f"--resume finds no run under 'work_dirs/{Path(path).stem}'; name its folder with --work-dir"
            )
        raise ConfigError(f"--resume finds no epoch_<n>.pth in work_dir '{held}'; leave --resume out to begin anew")
    _claim(held)
    return held, _newest_whole(held)


def _newest_whole(folder: Path) -> Path:
    """The newest checkpoint that is whole; those after it are put aside."""
    whole, damaged = newest_whole(find_checkpoints(folder))
    if whole is None:
        raise ConfigError(
            f"every checkpoint of work_dir '{folder}' is damaged: {', '.join(path.name for path in damaged)}; begin anew in "
            'another --work-dir'
        )
    for path in damaged:
        aside = path.with_name(f'{path.name}.damaged')
        path.replace(aside)
        print(f"'{path}' is damaged and now called '{aside.name}'; going on from '{whole.name}'", file=sys.stderr)
    return whole


def _begin_in(folder: Path) -> Path:
    if _holds_run(folder):
        raise ConfigError(
            f"work_dir '{folder}' already holds a run; continue it with --resume, or name another --work-dir"
        )
    _claim(folder)
    return folder


def _begin_in_default(path: str) -> Path:
    for folder in _default_folders(path):
        if not _holds_run(folder):
            try:
                return _begin_in(folder)
            except FolderInUseError:  # by a run that has saved nothing yet
                continue
    raise AssertionError('there is always another number')


def prepare_check(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config to see whether it trains; what the run writes goes to a temporary folder.

    Args:
        path: A config file.
        options: Values by dotted field name that override the config's.

    Raises:
        ConfigError: The config is missing or wrong.
    """
    config = load_config(path, options)
    check_config(config)
    config.train_cfg.pop('by_epoch', None)
    config.train_cfg.type = 'CheckLoop'
    config.work_dir = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, config.work_dir, ignore_errors=True)
    return config


def prepare_test(
    path: str, checkpoint: str, models: list[str] | None = None, options: dict[str, Any] | None = None
) -> Config:
    """Read a config for the evaluation of a checkpoint.

    Args:
        path: The config file that the checkpoint was trained with.
        checkpoint: The checkpoint.
        models: ``'base'`` or ``'motivated'`` or both; ``None`` for both.
        options: Values by dotted field name that override the config's.

    Raises:
        ConfigError: The config or the checkpoint is missing, or results cannot be written beside it.
    """
    config = load_config(path, options)
    require_file(Path(checkpoint))
    config.work_dir = str(Path(checkpoint).parent / 'test')
    _require_writable(Path(config.work_dir))
    config.load_from, config.resume = checkpoint, False
    if models:
        config.test_cfg.models = models
    return config


def _default_folders(path: str) -> Iterator[Path]:
    first = Path('work_dirs') / Path(path).stem
    yield first
    number = 2
    while True:
        yield first.with_name(f'{first.name}-{number}')
        number += 1


def _holds_run(folder: Path) -> bool:
    return bool(find_checkpoints(folder)) or (folder / 'report.json').exists()


def _newest_default_folder(path: str) -> Path | None:
    newest = None
    for folder in _default_folders(path):
        if not _holds_run(folder):
            return newest
        newest = folder
    return None


def _require_newest(folder: Path, checkpoint: Path) -> None:
    """Refuse to write over what a run has made after the checkpoint it is resumed from."""
    newest, _ = newest_whole(find_checkpoints(folder))
    if newest is not None and newest.resolve() != checkpoint.resolve():
        raise ConfigError(
            f"work_dir '{folder}' holds '{newest.name}' beside the checkpoint to resume, '{checkpoint}'; "
            'name a new --work-dir to branch off from there, or resume from the newest'
        )


def _claim(folder: Path) -> None:
    """Make a folder if need be, and keep others out of it."""
    _require_writable(folder)
    lock_folder(folder)


def _require_writable(folder: Path) -> None:
    try:
        make_folder(folder)
        probe = folder / '.writable'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"work_dir '{folder}' cannot be written ({error.strerror}); name another with --work-dir"
        ) from error
