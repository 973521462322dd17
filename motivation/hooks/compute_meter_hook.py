"""Counts what training costs."""

import math
import time
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.compute.measurements import Measurements
from motivation.compute.meter import ComputeMeter, Work
from motivation.datasets import first_batch
from motivation.errors import ConfigError
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import samples_in
from motivation.utils.distributed import sum_over_processes
from motivation.utils.random_state import preserved_random_state


@HOOKS.register_module()
class ComputeMeterHook(Hook):
    """Measures both models, then adds up what every batch costs and how long it takes.

    They are measured again where images come in another size, and where parameters were frozen or freed.

    MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention;
    FLOPs = 2 x MACs. Validation and the re-estimation of statistics are counted apart. The time of a
    training batch is all that passes from the end of one to the end of the next, waiting for data
    included, validation and checkpoints not.

    Logs ``train_flops``, the total so far, every step, and every ``interval`` steps as curves, for
    each model: ``flops/<model>/forward``, ``backward`` and ``total``, all so far;
    ``iter_flops/<model>/...``, the mean of a step since the entry before, whichever model made it;
    and, of the batches since then that it made, ``images_per_second/<model>`` and
    ``flops_per_second/<model>``.

    Args:
        interval: Steps between two entries of the curves, at least 1.

    Attributes:
        meter: The totals; set before training begins.

    Raises:
        ConfigError: ``interval`` is no whole number of at least 1.

    Example:
        >>> default_hooks = dict(compute_meter=dict(type='ComputeMeterHook', interval=20))
    """

    priority = 'ABOVE_NORMAL'  # before the logger

    def __init__(self, interval: int = 20) -> None:
        if not isinstance(interval, int) or isinstance(interval, bool) or interval < 1:
            raise ConfigError(
                f'default_hooks.compute_meter.interval is {interval!r}; it must be a whole number of steps, at least 1'
            )
        self.interval = interval
        self.meter: ComputeMeter
        self._resumed: dict[str, Any] | None = None
        self._measured: Measurements
        self._trains = False
        self._ended = 0.0
        self._logged: dict[ModelName, dict[str, Any]] = {}
        self._validated: dict[ModelName, Work] = {}

    def before_train(self, runner: Runner) -> None:
        model = runner.model
        with preserved_random_state():  # the image is drawn once more where training begins
            loader, classes = runner.train_dataloader, getattr(model.base, 'num_classes', None)
            sample = first_batch(loader.dataset, classes, loader.collate_fn)
        self._measured = Measurements(
            {name: getattr(model, name) for name in MODEL_NAMES},
            distillation=model.distillation is not None,
            batch_size=runner.train_dataloader.batch_size or 0,
        )
        self.meter = ComputeMeter(self._measured.training(sample), get_world_size())
        self._logged = self._totals()
        self._resume()
        self._trains = True

    def before_train_epoch(self, runner: Runner) -> None:
        self._ended = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        assert outputs is not None
        loss = torch.as_tensor(outputs['loss']).item()  # waits for the device, which is then done with the step
        now = time.perf_counter()
        images = sum_over_processes(samples_in(data_batch))
        active: ModelName = 'motivated' if outputs['motivated'] else 'base'
        self.meter.macs = self._measured.training(data_batch)
        self.meter.add_batch(
            active,
            images,
            seconds=now - self._ended,
            distilled='distillation_loss' in outputs,
            skipped=not math.isfinite(loss),
        )
        self._ended = now
        runner.message_hub.update_scalar('train/train_flops', self.meter.total_train_flops)
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            self._log(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self._validated = {}

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._trains:
            for name in outputs:
                images = samples_in(data_batch)
                flops = self._measured.inference(name, data_batch).flops(1, images)
                self._validated.setdefault(name, Work()).add(images, forward_flops=flops)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for name, work in self._validated.items():
            images, flops, iters = map(sum_over_processes, (work.images, work.forward_flops, work.iters))
            self.meter.evaluated[name].add(images, forward_flops=flops, iters=iters)

    def after_reestimation(self, runner: Runner, model: ModelName, iters: int, images: int) -> None:
        """Count the batches on which statistics were estimated anew; every process does the same."""
        if self._trains:
            processes = get_world_size()
            flops = self.meter.macs[model].inference.flops(iters, images)
            self.meter.reestimated[model].add(
                images * processes, forward_flops=flops * processes, iters=iters * processes
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        totals = {name: self.meter.describe(name) for name in MODEL_NAMES}
        checkpoint['compute_meter'] = {**self.meter.state_dict(), 'totals': totals, 'logged': self._logged}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.resuming:
            self._resumed = checkpoint['compute_meter']
            if self._trains:
                self._resume()

    def _resume(self) -> None:
        if self._resumed is not None:
            self.meter.load_state_dict(self._resumed)
            self._logged = self._resumed['logged']

    def _totals(self) -> dict[ModelName, dict[str, Any]]:
        return {name: {**self.meter.describe(name), 'batch': self.meter.batch_flops(name)} for name in MODEL_NAMES}

    def _log(self, runner: Runner) -> None:
        before, now = self._logged, self._totals()
        steps = sum(now[name]['iters'] - before[name]['iters'] for name in MODEL_NAMES)
        curves = {}
        for name in MODEL_NAMES:
            since = {
                field: now[name][field] - before[name][field]
                for field in (*_CURVES.values(), *_RATES.values(), 'seconds')
            }
            for curve, field in _CURVES.items():
                curves[f'flops/{name}/{curve}'] = now[name][field]
                curves[f'iter_flops/{name}/{curve}'] = since[field] / steps
            if since['seconds']:
                curves |= {f'{curve}/{name}': since[field] / since['seconds'] for curve, field in _RATES.items()}
        runner.visualizer.add_scalars(curves, step=runner.iter + 1)
        self._logged = now


# What the curves of one model show, by the field of its totals.
_CURVES = {'forward': 'forward_flops', 'backward': 'backward_flops', 'total': 'train_flops'}
_RATES = {'images_per_second': 'images', 'flops_per_second': 'batch'}
