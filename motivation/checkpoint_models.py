"""Opening a run, or the two models of one of its checkpoints, for what uses trained models."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motivation.export.finished_run import FinishedRun, read_config
from motivation.hooks.export_hook import ExportHook
from motivation.registry import RUNNERS
from motivation.utils.checkpoint import find_checkpoints, require_file
from motivation.utils.new_folders import make_folder


def open_run(path: str | Path, options: Mapping[str, Any] | None = None) -> FinishedRun:
    """Open a run, one of its exported models, or one of its checkpoints.

    The models of ``epoch_<n>.pth`` are first written to a folder ``epoch_<n>`` beside it, as the run would have exported
    them then: with the statistics that its validation used, and with their averages if it has ``model.ema``.

    Args:
        path: A work_dir, a ``base.pth`` or ``motivated.pth`` in it, or an ``epoch_<n>.pth``.
        options: Values by dotted field name that override those of the run's config.

    Raises:
        ConfigError: There is no run, or something of it is missing or corrupted.
        OSError: The models cannot be written.
    """
    path = Path(path)
    if path not in find_checkpoints(path.parent):
        return FinishedRun.open(path, options)
    folder = path.with_suffix('')
    models = write_models(path, folder, options)
    return FinishedRun(folder, read_config(path.parent, options), models, checkpoint=path)


def write_models(checkpoint: Path, folder: Path, options: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Write the models of a checkpoint to files, as the :class:`~motivation.hooks.ExportHook` of its run.

    Args:
        checkpoint: The ``epoch_<n>.pth``, in the work_dir of its run.
        folder: Folder of the files.
        options: Values by dotted field name that override those of the run's config.

    Returns:
        The path of each model by name.

    Raises:
        ConfigError: The checkpoint or the config cannot be used, or the data of the run are gone.
        OSError: The models cannot be written.
    """
    require_file(checkpoint)
    config = read_config(checkpoint.parent, options)
    hook = (config.get('default_hooks') or {}).get('export') or dict(type='ExportHook')
    with tempfile.TemporaryDirectory() as logs:
        config.work_dir, config.load_from, config.resume = logs, str(checkpoint), False
        config.default_hooks, config.custom_hooks = dict(export=hook), []  # the others only watch a training
        runner = RUNNERS.build(config)
        make_folder(folder)
        return runner.find_hook(ExportHook).export_checkpoint(runner, checkpoint, folder)
