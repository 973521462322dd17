"""Writes the two deployable models."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from motivation.engine.evaluation_loop import averaged
from motivation.engine.recalibration import recalibrated
from motivation.errors import ConfigError, near_matches
from motivation.export.exported_model import export_model, exported_module
from motivation.export.image_description import describe_images
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES, ModelName

# The weights of both models, as they are written.
Weights = dict[ModelName, dict[str, Tensor]]


@HOOKS.register_module()
class ExportHook(Hook):
    """After training writes ``base.pth`` and ``motivated.pth`` to the work_dir.

    What was scored is what is written: the weights and statistics with which the last validation made its
    predictions, whatever a hook puts into the models for validation and takes out again afterwards, such
    as MMEngine's EMAHook its averages. In a run without validation it is what validation would have seen.
    See :func:`motivation.export.exported_model.export_model` for what is in the files.

    Args:
        save_best: A metric, such as ``'accuracy/top1'``: after each validation in which it is higher
            than ever before for a model, that model is written to ``best_base.pth`` or
            ``best_motivated.pth``, too. ``None`` for not.

    Example:
        >>> default_hooks = dict(export=dict(type='ExportHook', save_best='accuracy/top1'))
    """

    priority = 'VERY_LOW'

    # Which argument names a metric of validation, and that it is named without ``base/`` or ``motivated/``.
    metric_argument, metric_of_each_model = 'save_best', True

    def __init__(self, save_best: str | None = None) -> None:
        self.save_best = save_best
        self._best: dict[ModelName, float] = {}
        self._trains = False
        self._metainfo: dict[str, Any] | None = None
        # What the last validation scored, the batches that were over then, and where it differs in a checkpoint.
        self._scored: Weights = {}
        self._scored_iter: int | None = None
        self._resumed: Weights | None = None

    def before_train(self, runner: Runner) -> None:
        self._trains = True
        if self._resumed is not None:
            self._scored = {name: {**own, **self._resumed[name]} for name, own in _weights(runner).items()}
            self._scored_iter, self._resumed = runner.iter, None

    def on_scored(self, runner: Runner) -> None:
        """Keep what makes the predictions of a validation, before any hook takes it out of the models again."""
        if self._trains:
            self._scored_iter = runner.iter
            if runner.rank == 0:
                self._scored = _weights(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.save_best is None or not self._trains or metrics is None:
            return
        known = {name.partition('/')[2] for name in metrics}
        if self.save_best not in known:
            raise ConfigError(
                f'ExportHook.save_best is {self.save_best!r}, which is no metric of validation; '
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
        if self._scored_iter == runner.iter:
            self._export(runner, MODEL_NAMES)
            return
        with averaged(runner):
            runner.model.transfer()
            with recalibrated(runner):
                self._scored = _weights(runner)
        self._export(runner, MODEL_NAMES)

    def _export(self, runner: Runner, models: list[ModelName] | tuple[ModelName, ...], prefix: str = '') -> None:
        if runner.rank != 0:
            return
        if self._metainfo is None:
            self._metainfo = describe_images(runner)
        for name in models:
            model, config = getattr(runner.model, name), runner.cfg.model[name].to_dict()
            path = Path(runner.work_dir) / f'{prefix}{name}.pth'
            export = partial(export_model, model, config, path, self._scored[name], self._metainfo)
            runner.try_to_write(path, export)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['best'] = self._best
        if self._scored_iter == runner.iter:  # else it is of no use any more
            checkpoint['scored'] = {
                name: _unlike(scored, _exported(runner, name)) for name, scored in self._scored.items()
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.resuming:
            self._best = checkpoint['best']
            self._scored, self._scored_iter = {}, None
            self._resumed = None if self._trains else checkpoint.get('scored')


def _weights(runner: Runner) -> Weights:
    """A copy of the weights of both models, on the CPU."""
    return {name: _copy(_exported(runner, name)) for name in MODEL_NAMES}


def _exported(runner: Runner, name: ModelName) -> nn.Module:
    return exported_module(getattr(runner.model, name))


def _copy(module: nn.Module) -> dict[str, Any]:
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }


def _unlike(scored: dict[str, Any], module: nn.Module) -> dict[str, Tensor]:
    """The tensors that differ from a module's own; what is no tensor goes with the models."""
    own = module.state_dict()
    return {
        name: value
        for name, value in scored.items()
        if isinstance(value, Tensor) and not value.equal(own[name].detach().cpu())
    }
