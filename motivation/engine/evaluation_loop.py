"""The validation and test loops, which evaluate both models in one pass over the data."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from motivation.config.build import build_data_loader, build_evaluator
from motivation.config.metric_names import check_named_metrics
from motivation.engine.hook_state import is_of_framework
from motivation.engine.recalibration import recalibrated
from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.registry import LOOPS
from motivation.structures import MODEL_NAMES, ModelName, model_of
from motivation.utils.distributed import share_buffers


class ValidationInterruptedError(Exception):
    """Raised within a validation when a signal asks the run to stop."""


@LOOPS.register_module()
class DualValLoop(BaseLoop):
    """Evaluates both models, each with its own evaluator; metric names begin with ``base/`` or ``motivated/``.

    With ``model.ema`` their averaged weights are evaluated in the same pass, as ``base/ema/`` and ``motivated/ema/``.

    Besides MMEngine's hook points, validation calls ``on_scored`` after the last prediction, while the models still
    have the evaluated weights.

    Args:
        runner: The runner.
        dataloader: Data loader, or its config.
        evaluator: Config of the metric or metrics, built once for each model.
        models: The models to evaluate. Default: both.

    Raises:
        ConfigError: ``models`` has an unknown name, or, in training, a field names a metric that is not reported.

    Example:
        >>> val_cfg = dict(type='DualValLoop')
    """

    stage = 'val'

    def __init__(
        self, runner: Runner, dataloader: Any, evaluator: Any, models: Sequence[ModelName] = MODEL_NAMES
    ) -> None:
        for name in models:
            if name not in MODEL_NAMES:
                raise ArgumentError('models', f'names {name!r}; {near_matches(str(name), MODEL_NAMES)}')
        super().__init__(runner, build_data_loader(runner, dataloader, f'{self.stage}_dataloader'))
        # Parameters of the active model before validation, if a hook may change them.
        self._trained: list[Tensor] | None = None
        self.evaluators = {
            name: build_evaluator(runner, evaluator, f'{self.stage}_evaluator')
            for name in runner.model.scored()
            if model_of(name) in models
        }
        for evaluator in self.evaluators.values():
            evaluator.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Evaluate the models with their current weights.

        Returns:
            Metrics by name, such as ``'base/accuracy/top1'``.
        """
        model, call_hook = self.runner.model, self.runner.call_hook
        may_change = any(map(_prepares_validation, self.runner.hooks))
        self._trained = [value.clone() for value in _active_parameters(model)] if may_change else None
        call_hook(f'before_{self.stage}')
        call_hook(f'before_{self.stage}_epoch')
        model.transfer()
        for part in model.scored().values():
            share_buffers(part)
        model.eval()
        with recalibrated(self.runner):
            for index, batch in enumerate(islice(self.dataloader, len(self.dataloader))):  # a sampler may be endless
                if self._is_interrupted():
                    raise ValidationInterruptedError
                call_hook(f'before_{self.stage}_iter', batch_idx=index, data_batch=batch)
                outputs = model.val_step(batch, models=list(self.evaluators))
                if self.stage == 'val' and index + 1 == len(self.dataloader):
                    call_hook('on_scored')
                for name, evaluator in self.evaluators.items():
                    evaluator.process(data_samples=outputs[name], data_batch=batch)
                call_hook(f'after_{self.stage}_iter', batch_idx=index, data_batch=batch, outputs=outputs)
        images = len(self.dataloader.dataset)
        metrics = {
            f'{name}/{metric}': value
            for name, evaluator in self.evaluators.items()
            for metric, value in evaluator.evaluate(images).items()
        }
        self._check_names(metrics)
        call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        call_hook(f'after_{self.stage}')
        return metrics

    def _check_names(self, metrics: dict[str, float]) -> None:
        """Check, in training, that this validation reports the metrics that the config names."""
        if self.stage == 'val' and isinstance(self.runner._train_loop, BaseLoop):
            check_named_metrics(self.runner.cfg._cfg_dict.to_dict(), metrics)

    def _is_interrupted(self) -> bool:
        interruption = self.runner.interruption  # processes may have different numbers of batches to ask at
        if interruption is None or get_world_size() > 1 or not interruption.asked():
            return False
        return self._trained is None or not self._has_other_weights(self._trained)

    def _has_other_weights(self, trained: list[Tensor]) -> bool:
        """Return whether a hook may have changed the weights until the end of the validation."""
        return not all(map(torch.equal, trained, _active_parameters(self.runner.model)))


def _prepares_validation(hook: Hook) -> bool:
    """Return whether a user-defined hook does anything before a validation."""
    if is_of_framework(type(hook)):
        return False
    points = ('before_val', 'before_val_epoch', 'before_val_iter', '_before_epoch', '_before_iter')
    return any(getattr(getattr(hook, point), '__func__', None) is not getattr(Hook, point) for point in points)


def _active_parameters(model: Any) -> list[Tensor]:
    return list(getattr(model, model.active).parameters())


@LOOPS.register_module()
class DualTestLoop(DualValLoop):
    """The :class:`DualValLoop` of :meth:`mmengine.runner.Runner.test`.

    Example:
        >>> test_cfg = dict(type='DualTestLoop', models=['base'])
    """

    stage = 'test'

    def run(self) -> dict[str, float]:
        """Evaluate the models of a checkpoint.

        Raises:
            ConfigError: The run has ``model.ema``, and the checkpoint no averages.
        """
        averages = self.runner.model.averages
        if averages is not None and averages.steps == 0:
            raise ConfigError(
                f"model.ema asks for averaged weights, and '{self.runner._load_from}' has none; evaluate it with model.ema=None"
            )
        return super().run()
