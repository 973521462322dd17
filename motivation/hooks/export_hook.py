"""The hook that exports both models."""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from motivation.engine.recalibration import recalibrated
from motivation.errors import ConfigError, near_matches
from motivation.export.export_run import ExportSettings
from motivation.export.exported_model import export_model
from motivation.export.formats import choose_formats
from motivation.export.image_description import describe_images
from motivation.hooks.exported_formats import export_formats, warn_of_outdated
from motivation.models.exported_file import exported_module
from motivation.registry import HOOKS
from motivation.structures import lower_is_better, model_of, split_metric
from motivation.utils.arguments import checked

# State dicts by the names of what is scored: both models, and their averages.
Weights = dict[str, dict[str, Tensor]]


@HOOKS.register_module()
class ExportHook(Hook):
    """Exports the models to ``base.pth`` and ``motivated.pth`` in the work_dir after training.

    With ``model.ema`` their averages go to ``base_ema.pth`` and ``motivated_ema.pth``. The exported weights and
    statistics are those with which the last validation made its predictions, also where a hook changes the weights for
    validation only. In a run without validation they are those that a validation would have used.
    :func:`motivation.export.exported_model.export_model` describes the files.

    Args:
        save_best: A metric, such as ``'accuracy/top1'``: after each validation in which it is a model's best so far
            (the highest, of a loss the lowest), that model is also exported to ``best_base.pth`` or ``best_motivated.pth``; averages by their own to
            ``best_base_ema.pth`` or ``best_motivated_ema.pth``. ``None`` (default) for no such files.

        formats: Formats in which both models, and their averages, are also exported to ``exported/`` after the
            report, each file measured, as ``motivation export`` does: ``['timm', 'onnx']``. What fails is named at the end
            of the run, which then exits with status 1. Default: none.
        int8: Whether to add the quantised form of each format that has one. Default: ``False``.
        raw_input: Whether these files take uint8 images and normalise them themselves. Default: ``False``.

    Raises:
        ArgumentError: A format is unknown.
        ConfigError: A package of a format is not installed.

    Example:
        >>> default_hooks = dict(export=dict(type='ExportHook', save_best='accuracy/top1'))
    """

    priority = 'VERY_LOW'

    # The argument that names a validation metric, and whether the name lacks ``base/`` or ``motivated/``.
    metric_argument, metric_of_each_model = 'save_best', True

    @checked
    def __init__(
        self, save_best: str | None = None, formats: Sequence[str] = (), int8: bool = False, raw_input: bool = False
    ) -> None:
        self.save_best = save_best
        self.formats = choose_formats(formats, int8)[0]
        self.raw_input = raw_input
        self._best: dict[str, float] = {}
        self._trains = False
        self._metainfo: dict[str, Any] | None = None
        self._model: Any = None
        # Whether the last validation is of the current weights, and the state dicts that it evaluated.
        self._is_scored = False
        self._scored: Weights = {}

    def before_run(self, runner: Runner) -> None:
        self._model = runner.model

    def before_train(self, runner: Runner) -> None:
        self._trains = True

    def before_train_epoch(self, runner: Runner) -> None:
        self._is_scored, self._scored = False, {}

    def on_scored(self, runner: Runner) -> None:
        """Keep the evaluated weights of a validation, before hooks restore the training weights."""
        if self._trains:
            self._is_scored = True
            if runner.rank == 0:
                self._scored = self._weights()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.save_best is None or not self._trains or metrics is None:
            return
        known = {split_metric(name)[1] for name in metrics}
        if self.save_best not in known:
            raise ConfigError(
                f'ExportHook.save_best is {self.save_best!r}, which is not a validation metric; '
                f'{near_matches(self.save_best, known)}'
            )
        scores = {name: metrics.get(f'{name}/{self.save_best}') for name in self._model.scored()}
        reached = {name: score for name, score in scores.items() if score is not None and self._is_best(name, score)}
        if reached:
            self._best |= reached
            self._export(runner, list(reached), 'best_')

    def _is_best(self, name: str, score: float) -> bool:
        best = self._best.get(name)
        return best is None or (score < best if lower_is_better(self.save_best or '') else score > best)

    def after_train(self, runner: Runner) -> None:
        self._score(runner)
        self._export(runner, self._model.scored())

    def after_run(self, runner: Runner) -> None:
        """Export in other formats, after the report is written, and name what an earlier training left behind."""
        if self._trains and runner.rank == 0:
            if self.formats:
                export_formats(runner, self.formats, ExportSettings(raw_input=self.raw_input, overwrite=True))
            warn_of_outdated(runner)

    def export_checkpoint(self, runner: Runner, checkpoint: Path, folder: Path) -> dict[str, Path]:
        """Write the models of a checkpoint as a run that ended with it would have.

        Args:
            runner: A runner of the run's config, which has loaded nothing yet.
            checkpoint: The checkpoint.
            folder: Folder of the files.

        Returns:
            The path of each file by its name without ``.pth``.

        Raises:
            ConfigError: The checkpoint is of other models.
            OSError: A file cannot be written.
        """
        state = runner.load_checkpoint(str(checkpoint)).get('export')
        self._model = runner.model
        if state is not None:
            self.load_state_dict(state)
        self._score(runner)
        paths = {name: folder / _file(name) for name in self._model.scored()}
        for name, path in paths.items():
            self._writer(runner, name, path)()
        return {path.stem: path for path in paths.values()}

    def _score(self, runner: Runner) -> None:
        """Get the weights that a validation would use now, unless it has."""
        if not self._is_scored:
            runner.model.transfer()
            with recalibrated(runner):
                self._scored = self._weights()

    def _export(self, runner: Runner, scored: Iterable[str], prefix: str = '') -> None:
        if runner.rank != 0:
            return
        for name in scored:
            path = Path(runner.work_dir) / f'{prefix}{_file(name)}'
            runner.unwritten.try_to_write(path, self._writer(runner, name, path))

    def _writer(self, runner: Runner, name: str, path: Path) -> Callable[[], None]:
        """Return a function that writes the file of what is scored under a name."""
        if self._metainfo is None:
            self._metainfo = describe_images(runner)
        model, config = getattr(runner.model, model_of(name)), runner.cfg.model[model_of(name)].to_dict()
        weights = {**self._modules()[name].state_dict(), **self._scored.get(name, {})}
        return partial(export_model, model, config, path, weights, self._metainfo)

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric of each model, and the evaluated tensors that differ from the current, if still needed."""
        scored = {name: _unlike(self._scored.get(name, {}), module) for name, module in self._modules().items()}
        return {'best': self._best, 'scored': scored if self._is_scored else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self._best, scored = state_dict['best'], state_dict['scored']
        self._is_scored, self._scored = scored is not None, scored or {}

    def _modules(self) -> dict[str, nn.Module]:
        """Return the module whose weights are exported, of all that is scored."""
        return {name: exported_module(model) for name, model in self._model.scored().items()}

    def _weights(self) -> Weights:
        """Return a copy of the weights of all that is scored, on the CPU."""
        return {name: _copy(module) for name, module in self._modules().items()}


def _file(name: str) -> str:
    return f'{name.replace("/", "_")}.pth'


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
