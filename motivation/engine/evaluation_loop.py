"""Validation and test of both models in one pass over the data."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from motivation.config.build import build_data_loader, build_evaluator
from motivation.config.metric_names import UnknownMetricError, check_named_metrics
from motivation.engine.averaging import end_averaging, find_averaging_hooks
from motivation.engine.hook_state import is_of_framework
from motivation.engine.recalibration import recalibrated
from motivation.errors import ArgumentError, near_matches
from motivation.registry import LOOPS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.distributed import share_buffers


class ValidationInterruptedError(Exception):
    """A signal asks the run to end, within a validation."""


@LOOPS.register_module()
class DualValLoop(BaseLoop):
    """Evaluates both models with an evaluator each; metrics begin with ``base/`` or ``motivated/``.

    Beside MMEngine's hook points it has ``on_scored`` in validation: all predictions are made, and the
    models are still what made them.

    Args:
        runner: The runner.
        dataloader: Data loader, or its config.
        evaluator: Config of the metric or metrics, built once for each model.
        models: The models evaluated.

    Raises:
        ConfigError: ``models`` names another, or, in training, a field names a metric that is not reported.

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
        # Parameters of the active model before validation, where a hook may change them for it.
        self._trained: list[Tensor] | None = None
        self.evaluators = {name: build_evaluator(runner, evaluator, f'{self.stage}_evaluator') for name in models}
        for evaluator in self.evaluators.values():
            evaluator.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Evaluate the models with their current weights.

        Returns:
            Metrics by name, such as ``'base/accuracy/top1'``.
        """
        model, call_hook = self.runner.model, self.runner.call_hook
        own = set(self.runner.hooks) - set(find_averaging_hooks(self.runner))
        prepare = any(map(_prepares_validation, own))
        self._trained = [value.clone() for value in _active_parameters(model)] if prepare else None
        call_hook(f'before_{self.stage}')
        call_hook(f'before_{self.stage}_epoch')
        model.transfer()
        share_buffers(model)
        model.eval()
        with recalibrated(self.runner):
            for index, batch in enumerate(islice(self.dataloader, len(self.dataloader))):  # samplers may go on
                if self._is_interrupted():
                    self._end()
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
        """Refuse names of metrics that this validation of a training does not report."""
        if self.stage == 'val' and isinstance(self.runner._train_loop, BaseLoop):
            try:
                check_named_metrics(self.runner.cfg._cfg_dict.to_dict(), metrics)
            except UnknownMetricError:
                end_averaging(self.runner)
                raise

    def _is_interrupted(self) -> bool:
        interruption = self.runner.interruption  # several processes may have different numbers of batches to ask at
        if interruption is None or get_world_size() > 1 or not interruption.asked():
            return False
        return self._trained is None or not self._has_other_weights(self._trained)

    def _has_other_weights(self, trained: list[Tensor]) -> bool:
        """Whether a hook of the user's own may have put weights into the models that only the end of validation undoes."""
        now = _active_parameters(self.runner.model)
        return bool(find_averaging_hooks(self.runner)) or not all(map(torch.equal, trained, now))

    def _end(self) -> None:
        end_averaging(self.runner)
        raise ValidationInterruptedError


def _prepares_validation(hook: Hook) -> bool:
    """Whether a hook of the user's own does something before a validation."""
    if is_of_framework(type(hook)):
        return False
    points = ('before_val', 'before_val_epoch', 'before_val_iter', '_before_epoch', '_before_iter')
    return any(getattr(getattr(hook, point), '__func__', None) is not getattr(Hook, point) for point in points)


def _active_parameters(model: Any) -> list[Tensor]:
    return list(getattr(model, model.active).parameters())


@LOOPS.register_module()
class DualTestLoop(DualValLoop):
    """As :class:`DualValLoop`, for :meth:`mmengine.runner.Runner.test`.

    Example:
        >>> test_cfg = dict(type='DualTestLoop', models=['base'])
    """

    stage = 'test'
