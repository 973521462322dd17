"""From a command line to a config that is ready to build: what is run, where, and from where on."""

from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from motivation.engine.checkpoint import find_checkpoints
from motivation.engine.config import load_config
from motivation.engine.processes import decide_once
from motivation.errors import ConfigError

LATEST = 'latest'


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
    path: str, work_dir: str | None = None, resume: str | None = None, options: dict[str, Any] | None = None
) -> Config:
    """Read the config of a training run and decide on its work_dir and its beginning.

    Args:
        path: A config file.
        work_dir: Folder of the results; ``None`` takes the config's ``work_dir``, or else
            ``work_dirs/<config>``, or ``work_dirs/<config>-2`` and so on if that holds a run.
        resume: Checkpoint to continue from (its folder is the work_dir, unless one is named),
            ``'latest'`` for the newest of the work_dir, ``None`` to begin anew.
        options: Values by dotted field name that override the config's.

    Raises:
        ConfigError: The config is missing or wrong, the work_dir holds what would be overwritten or
            cannot be written, or there is nothing to resume.
    """
    if work_dir == '':
        raise ConfigError("--work-dir is ''; name a folder, or leave it out")
    config = load_config(path, options)
    named = work_dir or config.get('work_dir')
    folder, checkpoint = decide_once(lambda: _place(path, named, resume))
    config.work_dir = str(folder)
    if checkpoint is not None:
        config.resume, config.load_from = True, str(checkpoint)
    return config


def _place(path: str, named: str | None, resume: str | None) -> tuple[Path, Path | None]:
    """The work_dir, made if need be, and the checkpoint to resume, if any."""
    if resume is None:
        folder = Path(named) if named else next(f for f in _default_folders(path) if not _holds_run(f))
        if _holds_run(folder):
            raise ConfigError(
                f"work_dir '{folder}' already holds a run; continue it with --resume, or name another --work-dir"
            )
        checkpoint = None
    else:
        if named:
            folder = Path(named)
        elif resume == LATEST:
            folder = _newest_default_folder(path)
        else:
            folder = Path(resume).parent
        checkpoint = _find_checkpoint(folder, resume)
        _require_newest(folder, checkpoint)
    _require_writable(folder)
    return folder, checkpoint


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
    if not Path(checkpoint).is_file():
        raise ConfigError(f'checkpoint {checkpoint!r} does not exist; give the path of an epoch_<n>.pth')
    config.work_dir = str(Path(checkpoint).parent / 'test')
    _require_writable(Path(config.work_dir))
    config.load_from, config.resume = checkpoint, False
    if models:
        config.test_cfg.models = models
    return config


def _default_folders(path: str) -> Any:
    first = Path('work_dirs') / Path(path).stem
    yield first
    number = 2
    while True:
        yield first.with_name(f'{first.name}-{number}')
        number += 1


def _holds_run(folder: Path) -> bool:
    return bool(find_checkpoints(folder)) or (folder / 'report.json').exists()


def _newest_default_folder(path: str) -> Path:
    newest = None
    for folder in _default_folders(path):
        if not _holds_run(folder):
            break
        newest = folder
    if newest is None:
        raise ConfigError(f"--resume finds no run under 'work_dirs/{Path(path).stem}'; name its folder with --work-dir")
    return newest


def _find_checkpoint(folder: Path, resume: str) -> Path:
    if resume != LATEST:
        if not Path(resume).is_file():
            raise ConfigError(f'--resume {resume!r} does not exist; give the path of an epoch_<n>.pth')
        return Path(resume)
    checkpoints = find_checkpoints(folder)
    if not checkpoints:
        raise ConfigError(f"--resume finds no epoch_<n>.pth in work_dir '{folder}'; leave --resume out to begin anew")
    return checkpoints[-1]


def _require_newest(folder: Path, checkpoint: Path) -> None:
    """Refuse to write over what a run has made after the checkpoint it is resumed from."""
    held = find_checkpoints(folder)
    if held and held[-1].resolve() != checkpoint.resolve():
        raise ConfigError(
            f"work_dir '{folder}' holds '{held[-1].name}' beside the checkpoint to resume, '{checkpoint}'; "
            'name a new --work-dir to branch off from there, or resume from the newest'
        )


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / '.writable'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"work_dir '{folder}' cannot be written ({error.strerror}); name another with --work-dir"
        ) from error
