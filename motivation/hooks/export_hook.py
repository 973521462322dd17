"""Writes the two deployable models."""

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.engine.export import export_model
from motivation.engine.recalibration import recalibrated
from motivation.models import MODEL_NAMES
from motivation.registry import HOOKS


@HOOKS.register_module()
class ExportHook(Hook):
    """After training writes ``base.pth`` and ``motivated.pth`` to the work_dir.

    See :func:`motivation.engine.export.export_model` for what is in them.

    Example:
        >>> default_hooks = dict(export=dict(type='ExportHook'))
    """

    priority = 'VERY_LOW'

    def after_train(self, runner: Runner) -> None:
        runner.model.transfer()
        with recalibrated(runner):
            for name in MODEL_NAMES:
                model, config = getattr(runner.model, name), runner.cfg.model[name].to_dict()
                if hasattr(model, 'deployed_config'):  # what trains is not always what is deployed
                    config = model.deployed_config(config)
                if runner.rank == 0:
                    export_model(model, config, Path(runner.work_dir) / f'{name}.pth')
