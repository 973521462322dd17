"""The hook that shows the progress of training on the terminal."""

import math
import time
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from motivation.compute.meter import ComputeMeter
from motivation.config.effects import fields_without_effect
from motivation.datasets import DeviceImages, class_names, stream_of
from motivation.datasets.spread_sampler import drawn_in_an_epoch
from motivation.errors import counted, listed, one_line
from motivation.hooks.compute_meter_hook import find_meter
from motivation.hooks.motivation_hook import MotivationHook
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import HOOKS
from motivation.report.metric_units import form_of
from motivation.report.table import count_parameters, format_rate, model_label
from motivation.structures import MODEL_NAMES, averaged_name, kind_of, split_metric
from motivation.utils.arguments import checked
from motivation.utils.batches import article
from motivation.utils.example import noun_of_model

# Seconds between two updates of the live display.
LIVE_INTERVAL = 0.1

# Number of classes named in the header.
SHOWN_CLASSES = 5


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints a header, progress (live on a terminal, plain lines elsewhere) and one line per validation.

    Args:
        interval: Seconds between two plain lines within an epoch. Default: 30.

    Example:
        >>> default_hooks = dict(progress=dict(type='ProgressHook'))
    """

    priority = 'VERY_LOW'

    @checked
    def __init__(self, interval: Annotated[float, Ge(0)] = 30.0) -> None:
        self.interval = interval
        self.console = Console(highlight=False, soft_wrap=True)
        self._trace = SwitchTrace()
        self._noun = 'sample'
        self._progress: Progress | None = None
        self._compiled: set[str] = set()
        self._begun_iter = 0
        self._begun = self._last_line = 0.0

    def before_train(self, runner: Runner) -> None:
        if runner.rank != 0:
            return
        self._trace = runner.find_hook(MotivationHook).trace
        self._noun = noun_of_model(runner.model.base)
        self.console.print('\n'.join(describe_run(runner)), markup=False)
        self._begun = self._last_line = time.monotonic()
        self._begun_iter = runner.iter
        if self.console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=12),
                TextColumn('{task.fields[state]}'),
                TimeRemainingColumn(),
                TextColumn('left'),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self._progress.add_task('train', total=runner.max_iters, completed=runner.iter, state='')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Say why the first batch of a compiled model takes long."""
        name = runner.model.active
        if runner.cfg.get('compile') and name not in self._compiled:
            self._compiled.add(name)
            runner.announce(
                f'compiling the {name} model, which takes a while, and once more for batches of other sizes'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        if runner.rank != 0:
            return
        now = time.monotonic()
        due = LIVE_INTERVAL if self._progress is not None else self.interval
        if now - self._last_line < due and runner.iter + 1 < runner.max_iters:
            return
        self._last_line = now
        batches = len(runner.train_dataloader)
        step = runner.last_step
        state = (
            f'epoch {runner.epoch + 1}/{runner.max_epochs}  batch {batch_idx + 1:>{len(str(batches))}}/{batches}',
            f'active {step.model:<9}  loss {step.loss:.4f}  motivated batches {self._trace.motivated_fraction:.0%}',
            *describe_compute(find_meter(runner), self._noun),
        )
        if self._progress is not None:  # several lines, which fit 80 columns
            self._progress.update(self._progress.task_ids[0], completed=runner.iter + 1, state='\n'.join(state))
        else:
            self.console.print('  '.join([*state, f'{self._time_left(runner)} left']))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.rank != 0 or self._begun == 0 or metrics is None:
            return
        batches = len(runner.train_dataloader)
        losses = [loss for loss in self._trace.losses[-batches:] if math.isfinite(loss)]
        loss = sum(losses) / max(len(losses), 1)
        meter = find_meter(runner)
        flops = '' if meter is None else f'{meter.total_train_flops:.3g} FLOPs  '
        self.console.print(
            f'epoch {runner.epoch:>{len(str(runner.max_epochs))}}/{runner.max_epochs}  loss {loss:.4f}  '
            f'motivated batches {self._trace.motivated_fraction:.0%}  {flops}{_describe_metric(metrics)}'
        )

    def on_message(self, runner: Runner, message: str) -> None:
        """Print a message of the run."""
        if runner.rank == 0:
            self.console.print(message, markup=False)

    def after_train(self, runner: Runner) -> None:
        self._stop()

    def on_exit(self, runner: Runner) -> None:
        """Release the terminal, also after an error."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _time_left(self, runner: Runner) -> str:
        done = runner.iter + 1 - self._begun_iter
        left = (time.monotonic() - self._begun) / done * (runner.max_iters - runner.iter - 1)
        return format_duration(left)


def _describe_metric(metrics: Mapping[str, float]) -> str:
    """Return top-1 accuracy of both models and of their averages, or else the first metric that validation reports."""
    names = [split_metric(name)[1] for name in metrics]
    metric = 'accuracy/top1' if 'accuracy/top1' in names else next(iter(names), '')
    label, form = 'top-1' if metric == 'accuracy/top1' else metric, form_of(metric)
    unit = {'percent': ' %', 'nats': ' nats'}.get(getattr(kind_of(metric), 'unit', ''), '')
    scored = [*MODEL_NAMES, *map(averaged_name, MODEL_NAMES)]
    values = (f'{name} {metrics[f"{name}/{metric}"]:{form}}{unit}' for name in scored if f'{name}/{metric}' in metrics)
    return f'{label}: {"  ".join(values)}'


def format_duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as ``'0:02:41'``."""
    minutes, second = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02}:{second:02}'


def describe_compute(meter: ComputeMeter | None, noun: str = 'image') -> list[str]:
    """Return the training FLOPs so far, then samples and GFLOP per second of each model that has trained, as text."""
    if meter is None:
        return []
    rates = (
        f'{name} {format_rate(meter.images_per_second(name))} {noun}s/s, '
        f'{format_rate(meter.flops_per_second(name), 1e9)} GFLOP/s'
        for name in MODEL_NAMES
        if meter.trained[name].seconds
    )
    return [f'{meter.total_train_flops:.3g} training FLOPs', *rates]


def _name_classes(classes: list[str]) -> str:
    """Return the number of classes and the first few names, as text."""
    shown = ', '.join(listed(one_line(name, 20)) for name in classes[:SHOWN_CLASSES])
    return f'{len(classes)} classes: {shown}' + (', ...' if len(classes) > SHOWN_CLASSES else '')


def describe_engine(runner: Runner) -> str:
    """Return what is switched on of the engine, as in ``'bf16, compiled, 2 micro-batches a batch'``; ``''`` if nothing."""
    model = runner.model
    parts = {name: getattr(runner.optim_wrapper[name], 'accumulate', 1) for name in MODEL_NAMES}
    split = ' and '.join(f'{count} ({name})' for name, count in parts.items())
    split = str(parts['base']) if len({*parts.values()}) == 1 else split
    return ', '.join(
        [
            *([model.precision] if model.precision != 'fp32' else []),
            *(['channels_last'] if model.channels_last else []),
            *(['compiled when a model first trains'] if runner.cfg.get('compile') else []),
            *([f'{split} micro-batches a batch'] if {*parts.values()} != {1} else []),
            *([f'averaged weights (decay {model.averages.decay:g})'] if model.averages is not None else []),
        ]
    )


def _describe_amount(loader: DataLoader) -> str:
    """Return the number of samples of a data set, and of those that all processes draw in an epoch if they are fewer."""
    drawn, total = drawn_in_an_epoch(loader), len(loader.dataset)  # type: ignore[arg-type]
    return f'{total:,}' if drawn is None else f'{drawn * get_world_size():,} of {total:,}'


def describe_run(runner: Runner) -> list[str]:
    """Return a header of at most 15 lines that describes models, data, schedule and device."""
    model, meter, noun = runner.model, find_meter(runner), noun_of_model(runner.model.base)
    lines = [f'motivation  {runner.cfg.filename or "config"}']
    for name in MODEL_NAMES:
        part = getattr(model, name)
        lines.append(f'  {name:<10} {model_label(part)}: {count_parameters(part):,} parameters')
        if meter is not None:
            step = meter.macs[name].step
            lines[-1] += (
                f', {step.forward.per_image / 1e6:,.2f} MMACs forward and '
                f'{step.backward.per_image / 1e6:,.2f} backward {article(noun)}'
            )
    train = runner.train_dataloader
    classes = class_names(train.dataset)
    source = getattr(train.dataset, 'dataset', train.dataset)  # the dataset inside the SeededDataset
    label = type(source).__name__
    if isinstance(source, DeviceImages):
        label = f'{type(source.dataset).__name__} on {source.device}'
    if stream_of(train.dataset) is not None:
        label += ', a stream'
    validation = _describe_amount(runner.val_dataloader) if runner.cfg.get('val_cfg') is not None else 'no'
    processes = get_world_size()
    together = f'{processes} x ' if processes > 1 else ''
    threads = (
        f', torch threads: {torch.get_num_threads()}'
        if runner.model.base.data_preprocessor.device.type == 'cpu'
        else ''
    )
    return [
        *lines,
        f'  weight map {model.weight_map!r}: {len(model.weight_map.pairs)} tensors shared, '
        f'extension of {model.weight_map.extension_size:,} parameters, statistics {model.statistics}',
        *(f'             begins unlike the base model: {caveat}' for caveat in model.extension_caveats[:2]),
        *([f'  pretrained {runner.model.pretraining}'] if runner.model.pretraining else []),
        f'  policy     {runner.find_hook(MotivationHook).policy!r}',
        f'  data       {label}: {_describe_amount(train)} training and '
        f'{validation} validation {noun}s' + (f', {_name_classes(classes)}' if classes else ''),
        f'  schedule   {counted(runner.max_epochs, "epoch")} of {counted(len(train), "batch")} of '
        f'{together}{train.batch_size}, seed {runner.seed}'
        + (f', resumed after batch {runner.iter:,} of {runner.max_iters:,}' if runner.iter else ''),
        *([f'  parts      {runner.train_loop.parts}'] if runner.train_loop.parts.resizes else []),
        *([f'  engine     {engine}'] if (engine := describe_engine(runner)) else []),
        *(
            [f'  one process, so without effect: {", ".join(unused)}']
            if (unused := fields_without_effect(runner.cfg))
            else []
        ),
        f'  device     {together}{model.base.data_preprocessor.device}{threads}',
        *([] if getattr(runner.train_loop, 'is_trial', False) else [f'  work_dir   {runner.work_dir}']),
    ]
