"""Writes the two deployable models."""

from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.engine.export import export_model
from motivation.engine.recalibration import recalibrated
from motivation.errors import ConfigError, near_matches
from motivation.models import MODEL_NAMES
from motivation.registry import HOOKS
from motivation.weight_maps import ModelName


@HOOKS.register_module()
class ExportHook(Hook):
    """After training writes ``base.pth`` and ``motivated.pth`` to the work_dir.

    See :func:`motivation.engine.export.export_model` for what is in them.

    Args:
        save_best: A metric, such as ``'accuracy/top1'``: after each validation in which it is higher
            than ever before for a model, that model is written to ``best_base.pth`` or
            ``best_motivated.pth``, too. ``None`` for not.

    Example:
        >>> default_hooks = dict(export=dict(type='ExportHook', save_best='accuracy/top1'))
    """

    priority = 'VERY_LOW'

    def __init__(self, save_best: str | None = None) -> None:
        self.save_best = save_best
        self._best: dict[ModelName, float] = {}
        self._trains = False

    def before_train(self, runner: Runner) -> None:
        self._trains = True

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.save_best is None or not self._trains or metrics is None:
            return
        known = {name.partition('/')[2] for name in metrics}
        if self.save_best not in known:
            raise ConfigError(
                f'default_hooks.export.save_best is {self.save_best!r}, which is no metric of validation; '
                f'{near_matches(self.save_best, known)}'
            )
        better: list[ModelName] = [
            name
            for name in MODEL_NAMES
            if metrics.get(f'{name}/{self.save_best}', float('-inf')) > self._best.get(name, float('-inf'))
        ]
        if better:
            self._best |= {name: metrics[f'{name}/{self.save_best}'] for name in better}
            self._export(runner, better, 'best_')

    def after_train(self, runner: Runner) -> None:
        self._export(runner, MODEL_NAMES)

    def _export(self, runner: Runner, models: list[ModelName] | tuple[ModelName, ...], prefix: str = '') -> None:
        runner.model.transfer()
        with recalibrated(runner):
            for name in models:
                model, config = getattr(runner.model, name), runner.cfg.model[name].to_dict()
                if hasattr(model, 'deployed_config'):  # what trains is not always what is deployed
                    config = model.deployed_config(config)
                if runner.rank == 0:
                    path = Path(runner.work_dir) / f'{prefix}{name}.pth'
                    runner.try_to_write(path, partial(export_model, model, config, path))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['best'] = self._best

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.resuming:
            self._best = checkpoint['best']
