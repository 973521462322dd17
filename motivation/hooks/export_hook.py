"""The hook that exports both models."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from motivation.engine.averaging import averaged
from motivation.engine.recalibration import recalibrated
from motivation.errors import ConfigError, near_matches
from motivation.export.exported_model import export_model
from motivation.export.image_description import describe_images
from motivation.models.exported_file import exported_module
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES, ModelName

# The state dict of each model.
Weights = dict[ModelName, dict[str, Tensor]]


@HOOKS.register_module()
class ExportHook(Hook):
    """Exports the models to ``base.pth`` and ``motivated.pth`` in the work_dir after training.

    The exported weights and statistics are those with which the last validation made its predictions, also where a
    hook changes the weights for validation only, as MMEngine's EMAHook does. In a run without validation they are
    those that a validation would have used. :func:`motivation.export.exported_model.export_model` describes the files.

    Args:
        save_best: A metric, such as ``'accuracy/top1'``: after each validation in which it is a model's highest so
            far, that model is also exported to ``best_base.pth`` or ``best_motivated.pth``. ``None`` (default)
            for no such files.

    Example:
        >>> default_hooks = dict(export=dict(type='ExportHook', save_best='accuracy/top1'))
    """

    priority = 'VERY_LOW'

    # The argument that names a validation metric, and whether the name lacks ``base/`` or ``motivated/``.
    metric_argument, metric_of_each_model = 'save_best', True

    def __init__(self, save_best: str | None = None) -> None:
        self.save_best = save_best
        self._best: dict[ModelName, float] = {}
        self._trains = False
        self._metainfo: dict[str, Any] | None = None
        self._modules: dict[ModelName, nn.Module] = {}
        # Whether the last validation is of the current weights, and the state dicts that it evaluated.
        self._is_scored = False
        self._scored: Weights = {name: {} for name in MODEL_NAMES}

    def before_run(self, runner: Runner) -> None:
        self._modules = {name: exported_module(getattr(runner.model, name)) for name in MODEL_NAMES}

    def before_train(self, runner: Runner) -> None:
        self._trains = True

    def before_train_epoch(self, runner: Runner) -> None:
        self._is_scored, self._scored = False, {name: {} for name in MODEL_NAMES}

    def on_scored(self, runner: Runner) -> None:
        """Keep the evaluated weights of a validation, before hooks restore the training weights."""
        if self._trains:
            self._is_scored = True
            if runner.rank == 0:
                self._scored = self._weights()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.save_best is None or not self._trains or metrics is None:
            return
        known = {name.partition('/')[2] for name in metrics}
        if self.save_best not in known:
            raise ConfigError(
                f'ExportHook.save_best is {self.save_best!r}, which is not a validation metric; '
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
        if not self._is_scored:
            with averaged(runner):
                runner.model.transfer()
                with recalibrated(runner):
                    self._scored = self._weights()
        self._export(runner, MODEL_NAMES)

    def _export(self, runner: Runner, models: list[ModelName] | tuple[ModelName, ...], prefix: str = '') -> None:
        if runner.rank != 0:
            return
        if self._metainfo is None:
            self._metainfo = describe_images(runner)
        for name in models:
            model, config = getattr(runner.model, name), runner.cfg.model[name].to_dict()
            path = Path(runner.work_dir) / f'{prefix}{name}.pth'
            weights = {**self._modules[name].state_dict(), **self._scored[name]}
            export = partial(export_model, model, config, path, weights, self._metainfo)
            runner.unwritten.try_to_write(path, export)

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric of each model, and the evaluated tensors that differ from the current, if still needed."""
        scored = {name: _unlike(self._scored[name], module) for name, module in self._modules.items()}
        return {'best': self._best, 'scored': scored if self._is_scored else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self._best, scored = state_dict['best'], state_dict['scored']
        self._is_scored, self._scored = scored is not None, scored or {name: {} for name in MODEL_NAMES}

    def _weights(self) -> Weights:
        """Return a copy of the weights of both models, on the CPU."""
        return {name: _copy(module) for name, module in self._modules.items()}


def _copy(module: nn.Module) -> dict[str, Any]:
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }


def _unlike(scored: dict[str, Any], module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a state dict that differ from those of a module."""
    current = module.state_dict()
    return {
        name: value
        for name, value in scored.items()
        if isinstance(value, Tensor) and not value.equal(current[name].detach().cpu())
    }
