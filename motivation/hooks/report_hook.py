"""Gathers the results of a run and writes them."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console

from motivation.hooks.compute_meter_hook import ComputeMeterHook
from motivation.hooks.motivation_hook import MotivationHook
from motivation.registry import HOOKS
from motivation.report.table import best_accuracies, build_table, count_parameters, model_label, write_report
from motivation.structures import MODEL_NAMES


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.json``, ``report.md`` and ``report.png`` and prints the table at the end.

    A hook with a method ``on_report(runner, report)`` can add to the report.

    Args:
        picture: Whether to draw ``report.png``, which takes a second.

    Attributes:
        history: For each validation the epoch, the batches so far, and for each model its metrics
            and the FLOPs of its training so far.

    Example:
        >>> default_hooks = dict(report=dict(type='ReportHook'))
    """

    priority = 'LOWEST'

    def __init__(self, picture: bool = True) -> None:
        self.picture = picture
        self.history: list[dict[str, Any]] = []
        self._seconds_before = 0.0
        self._begun: float | None = None

    def before_train(self, runner: Runner) -> None:
        self._begun = time.monotonic()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._begun is None or metrics is None:
            return
        meter = runner.find_hook(ComputeMeterHook).meter
        row: dict[str, Any] = {'epoch': runner.epoch, 'iter': runner.iter}
        for name in MODEL_NAMES:
            own = {key.removeprefix(f'{name}/'): value for key, value in metrics.items() if key.startswith(f'{name}/')}
            row[name] = {'metrics': own, 'train_flops': meter.train_flops(name)}
        self.history.append(row)

    def after_train(self, runner: Runner) -> None:
        if runner.rank != 0:
            return
        report, trace = self._report(runner), runner.find_hook(MotivationHook).trace
        work_dir = Path(runner.work_dir)
        console = Console(highlight=False, soft_wrap=True)
        console.print(build_table(report))
        runner.try_to_write(work_dir / 'report.json', partial(write_report, report, trace, work_dir, self.picture))
        if 'report.json' not in runner.unwritten:
            picture = ', report.png' if self.picture else ''
            console.print(f'written: report.json, report.md{picture} in {work_dir}', markup=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the results so far, and the seconds that they took."""
        return {'history': self.history, 'wall_seconds': self._wall_seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; a run that is rolled back has spent its time all the same."""
        self.history = list(state_dict['history'])
        if self._begun is None:
            self._seconds_before = state_dict['wall_seconds']

    def _wall_seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._begun if self._begun is not None else 0.0)

    def _report(self, runner: Runner) -> dict[str, Any]:
        meter, motivation = runner.find_hook(ComputeMeterHook).meter, runner.find_hook(MotivationHook)
        report: dict[str, Any] = {
            'policy': repr(motivation.policy),
            'seed': runner.seed,
            'epochs': runner.epoch,
            'motivated_fraction': motivation.trace.motivated_fraction,
            'activations': len(motivation.trace.spells()),
            'wall_seconds': round(self._wall_seconds(), 1),
            'distillation_iters': meter.distilled.iters,
            'skipped_iters': runner.train_loop.skipped,
            'rollbacks': runner.train_loop.rollbacks,
            'total_train_flops': meter.total_train_flops,
            'motivated_alone_train_flops': meter.motivated_alone_train_flops,
            'saving': meter.motivated_alone_train_flops / meter.total_train_flops,
        }
        for name in MODEL_NAMES:
            model, macs = getattr(runner.model, name), meter.macs[name]
            report[name] = {
                'model': model_label(model),
                'params': count_parameters(model),
                'forward_macs_per_image': macs.network.per_image,
                'step_forward_macs_per_image': macs.step.forward.per_image,
                'backward_macs_per_image': macs.step.backward.per_image,
                **meter.describe(name),
                'metrics': self.history[-1][name]['metrics'] if self.history else {},
                'best': best_accuracies(self.history, name),
            }
        if runner.pretraining is not None:
            report['pretraining'] = {**runner.pretraining._asdict(), 'said': str(runner.pretraining)}
        runner.call_hook('on_report', report=report)
        return {**report, 'history': self.history}
