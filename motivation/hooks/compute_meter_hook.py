"""The hook that counts the compute of training."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.compute.macs import ModelMacs, measure_model
from motivation.compute.measurements import Measurements
from motivation.compute.meter import BatchTotals, ComputeMeter
from motivation.datasets import first_batch
from motivation.errors import ConfigError
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES, ModelName, model_of
from motivation.utils.arguments import Count, checked
from motivation.utils.batches import first_sample, samples_in
from motivation.utils.distributed import sum_over_processes
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_parts import resized


@HOOKS.register_module()
class ComputeMeterHook(Hook):
    """Counts the FLOPs of both models, then adds up the compute and time of every training batch.

    Models are counted again when the image size changes or parameters are frozen or unfrozen.

    MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention;
    FLOPs = 2 x MACs. Validation and the re-estimation of statistics have separate totals. The time of a training
    batch runs from the end of the batch before to its own end; it includes waiting for data, but not validation and
    checkpoints.

    Logs the running total ``train_flops`` at every step and, for each model every ``interval`` steps, the curves
    ``flops/<model>/forward``, ``backward`` and ``total`` (running totals), ``iter_flops/<model>/...`` (means per
    step since the last entry, over the steps of both models), and ``images_per_second/<model>`` and
    ``flops_per_second/<model>`` (over the model's own batches since the last entry).

    A model that cannot be counted trains all the same, with one warning; only ``motivation check`` and a
    policy that asks for ``compute`` raise an error.

    Args:
        interval: Steps between two entries of the curves, at least 1. Default: 20.

    Attributes:
        meter: The totals; ``None`` before training begins, and if a model cannot be counted.
        not_counted: Why a model cannot be counted, or ``None``.

    Raises:
        ConfigError: ``interval`` is not an integer of at least 1.

    Example:
        >>> default_hooks = dict(compute_meter=dict(type='ComputeMeterHook', interval=20))
    """

    priority = 'ABOVE_NORMAL'  # before the logger

    @checked
    def __init__(self, interval: Count = 20) -> None:
        self.interval = interval
        self.meter: ComputeMeter | None = None
        self.not_counted: str | None = None
        self._measured: Measurements
        self._restored = False
        self._logged: dict[ModelName, dict[str, Any]] = {}
        self._validated: dict[ModelName, BatchTotals] = {}

    def before_run(self, runner: Runner) -> None:
        if not runner.trains:
            return
        model = runner.model
        self._measured = Measurements(
            {name: getattr(model, name) for name in MODEL_NAMES},
            distillation=model.distillation is not None,
            batch_size=runner.train_dataloader.batch_size or 0,
        )
        try:
            accumulate = {name: getattr(runner.optim_wrapper[name], 'accumulate', 1) for name in MODEL_NAMES}
            self.meter = ComputeMeter(self._measured.training(training_sample(runner)), get_world_size(), accumulate)
        except ConfigError as error:
            self.not_counted = str(error)
        else:
            self._logged = self._totals(self.meter)

    def before_train(self, runner: Runner) -> None:
        if runner.resuming and not self._restored:
            self.meter, self.not_counted = None, 'a part of the run was made without ComputeMeterHook'
        if self.not_counted is not None:
            self._give_up(runner, self.not_counted)

    def on_check(self, runner: Runner, data_batch: Any) -> None:
        """Count both models on a batch, and each one's forward pass in two ways, which must agree.

        Raises:
            ConfigError: A model cannot be counted, or the counts differ; see
                :func:`~motivation.compute.macs.measure_model`.
        """
        for part in runner.train_loop.parts.parts:
            self._measured.training(resized(data_batch, part.size))
        model, sample = runner.model, first_sample(data_batch)
        for name in MODEL_NAMES:
            measure_model(
                getattr(model, name), sample, model.distillation is not None, runner.train_dataloader.batch_size,
                check=True,
            )  # fmt: skip

    def _give_up(self, runner: Runner, reason: str) -> None:
        """Stop counting, because totals that lack batches would mislead."""
        self.meter, self.not_counted = None, reason
        runner.logger.warning(f'compute is not counted: {reason}')

    def _measure(self, runner: Runner, data_batch: Any) -> ComputeMeter | None:
        """Update the meter's compute per batch for a batch, and return the meter, or ``None`` if there is none."""
        if self.meter is not None:
            try:
                self.meter.macs = self._measured.training(data_batch)
            except ConfigError as error:
                self._give_up(runner, str(error))
        return self.meter

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        meter, step = self._measure(runner, data_batch), runner.last_step
        if meter is None:
            return
        meter.add_batch(
            step.model,
            step.images,
            seconds=step.seconds,
            distilled=step.distilled,
            skipped=not step.stepped,
            passes=step.passes,
        )
        runner.message_hub.update_scalar('train/train_flops', meter.total_train_flops)
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            self._log(runner, meter)

    def measure_like(self, batch: Any) -> Mapping[ModelName, ModelMacs]:
        """Return the MACs of both models on samples like those of a batch, such as those of a later part of the run.

        Raises:
            ConfigError: A model cannot be counted.
        """
        return self._measured.training(batch)

    def before_val_epoch(self, runner: Runner) -> None:
        self._validated = {}

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for name in map(model_of, outputs) if self.meter is not None else ():  # averaged weights cost the same
            images = samples_in(data_batch)
            try:
                flops = self._measured.inference(name, data_batch).flops(1, images)
            except ConfigError as error:
                self._give_up(runner, str(error))
                return
            self._validated.setdefault(name, BatchTotals()).add(images, forward_flops=flops)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for name, totals in self._validated.items():
            images, flops, iters = map(sum_over_processes, (totals.images, totals.forward_flops, totals.iters))
            if self.meter is not None:
                self.meter.evaluated[name].add(images, forward_flops=flops, iters=iters)

    def after_reestimation(self, runner: Runner, model: ModelName, iters: int, images: int) -> None:
        """Count the batches on which statistics were re-estimated; every process runs all of them."""
        if self.meter is not None:
            self.meter.add_reestimation(model, iters, images)

    def after_held_in_loss(self, runner: Runner, images: int) -> None:
        """Count a measurement of the base model's loss, which every process makes on images of its own."""
        if self.meter is not None:
            self.meter.add_held_in(images * get_world_size())

    def state_dict(self) -> dict[str, Any]:
        """Return the totals so far and at the last entry of the curves, or why there are none."""
        if self.meter is None:
            return {'not_counted': self.not_counted}
        totals = {name: self.meter.describe(name) for name in MODEL_NAMES}
        return {**self.meter.state_dict(), 'totals': totals, 'logged': self._logged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self._restored = True
        if 'not_counted' in state_dict:
            self.meter, self.not_counted = None, state_dict['not_counted']
        elif self.meter is not None:
            self.meter.load_state_dict(state_dict)
            self._logged = state_dict['logged']

    def _totals(self, meter: ComputeMeter) -> dict[ModelName, dict[str, Any]]:
        return {name: {**meter.describe(name), 'batch': meter.batch_flops(name)} for name in MODEL_NAMES}

    def _log(self, runner: Runner, meter: ComputeMeter) -> None:
        before, now = self._logged, self._totals(meter)
        steps = sum(now[name]['iters'] - before[name]['iters'] for name in MODEL_NAMES)
        curves = {}
        for name in MODEL_NAMES:
            since = {
                field: now[name][field] - before[name][field]
                for field in (*_CURVES.values(), *_RATES.values(), 'seconds')
            }
            for curve, field in _CURVES.items():
                curves[f'flops/{name}/{curve}'] = now[name][field]
                if steps:  # otherwise all batches since then were skipped
                    curves[f'iter_flops/{name}/{curve}'] = since[field] / steps
            if since['seconds']:
                curves |= {f'{curve}/{name}': since[field] / since['seconds'] for curve, field in _RATES.items()}
        runner.visualizer.add_scalars(curves, step=runner.iter + 1)
        self._logged = now


# The field of a model's totals that each curve shows.
_CURVES = {'forward': 'forward_flops', 'backward': 'backward_flops', 'total': 'train_flops'}
_RATES = {'images_per_second': 'images', 'flops_per_second': 'batch'}


def find_meter(runner: Runner) -> ComputeMeter | None:
    """Return the compute meter of a run, or ``None`` if it has none or its models cannot be counted."""
    hook = runner.find_hook(ComputeMeterHook)
    return None if hook is None else hook.meter


def require_meter(runner: Runner) -> ComputeMeter:
    """Return the compute meter of a run whose policy asks for ``compute``.

    Raises:
        ConfigError: The run has no meter, or its models cannot be counted.
    """
    hook = runner.find_hook(ComputeMeterHook)
    if hook is None:
        raise ConfigError(
            "default_hooks has no ComputeMeterHook, which motivation.policy needs: it asks for 'compute'; add the hook, "
            'or choose another policy'
        )
    if hook.meter is None:
        raise ConfigError(
            f"motivation.policy asks for 'compute', which is not counted: {hook.not_counted}; choose another policy"
        )
    return hook.meter


def training_sample(runner: Runner) -> dict[str, Any]:
    """Return the first training sample as a batch."""
    loader, classes = runner.train_dataloader, getattr(runner.model.base, 'num_classes', None)
    with preserved_random_state():  # the sample is drawn once more where training begins
        return first_batch(loader.dataset, classes, loader.collate_fn)
