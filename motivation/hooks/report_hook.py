"""The hook that writes the report of a run."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console

from motivation.compute.meter import ComputeMeter
from motivation.engine.loggers.tracker import summarize
from motivation.hooks.compute_meter_hook import ComputeMeterHook, find_meter
from motivation.hooks.motivation_hook import MotivationHook
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import HOOKS
from motivation.report.structure import ModelCompute, ModelReport, RecordedRun, RunCompute, RunReport, Validation
from motivation.report.table import best_values, build_table, count_parameters, model_label, write_report
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from motivation.utils.example import noun_of_model


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.json``, ``report.md`` and ``report.png`` and prints the table after training.

    A hook with a method ``on_report(runner, report)`` receives the dict that becomes ``report.json`` and can add to
    it.

    Args:
        picture: Whether to draw ``report.png``, which takes about a second. Default: ``True``.

    Attributes:
        history: For each validation, the epoch, the number of batches, each model's metrics and, if counted, its
            training FLOPs so far.

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
        meter = find_meter(runner)
        row: dict[str, Any] = {'epoch': runner.epoch, 'iter': runner.iter}
        for name in MODEL_NAMES:
            scores = {
                key.removeprefix(f'{name}/'): value for key, value in metrics.items() if key.startswith(f'{name}/')
            }
            row[name] = {'metrics': scores, **({'train_flops': meter.train_flops(name)} if meter is not None else {})}
        self.history.append(row)

    def after_train(self, runner: Runner) -> None:
        if runner.rank != 0:
            return
        report, trace = self._report(runner), runner.find_hook(MotivationHook).trace
        work_dir = Path(runner.work_dir)
        console = Console(highlight=False, soft_wrap=True)
        console.print(build_table(report))
        runner.unwritten.try_to_write(
            work_dir / 'report.json', partial(write_report, report, trace, work_dir, self.picture)
        )
        summarize(runner.visualizer, report.to_json())
        if 'report.json' not in runner.unwritten:
            names = ['report.json', 'report.md', *(['report.png'] if self.picture else [])]
            names += [name for name in runner.unwritten.written if name not in names]
            console.print(f'written: {", ".join(names)} in {work_dir}', markup=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the results and the seconds of training so far."""
        return {'history': self.history, 'wall_seconds': self._wall_seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned; a rollback keeps the time spent so far."""
        self.history = list(state_dict['history'])
        if self._begun is None:
            self._seconds_before = state_dict['wall_seconds']

    def _wall_seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._begun if self._begun is not None else 0.0)

    def _report(self, runner: Runner) -> RunReport:
        motivation, meter_hook = runner.find_hook(MotivationHook), runner.find_hook(ComputeMeterHook)
        history = [Validation.from_json(row) for row in self.history]
        meter = find_meter(runner)
        report = RunReport(
            policy=repr(motivation.policy),
            seed=runner.seed,
            epochs=runner.epoch,
            motivated_fraction=motivation.trace.motivated_fraction,
            activations=len(motivation.trace.spells()),
            wall_seconds=round(self._wall_seconds(), 1),
            skipped_iters=runner.train_loop.skipped,
            rollbacks=runner.train_loop.rollbacks,
            base=_report_model(runner, 'base', history),
            motivated=_report_model(runner, 'motivated', history),
            history=history,
            pretraining=None
            if runner.model.pretraining is None
            else {**runner.model.pretraining._asdict(), 'said': str(runner.model.pretraining)},
            compute=None if meter is None else _run_compute(meter),
            sample=noun_of_model(runner.model.base),
            not_counted=None if meter_hook is None else meter_hook.not_counted,
        )
        data = report.to_json()
        runner.call_hook('on_report', report=data)
        return RunReport.from_json(data)


def _report_model(runner: Runner, name: ModelName, history: list[Validation]) -> ModelReport:
    model, meter = getattr(runner.model, name), find_meter(runner)
    return ModelReport(
        model=model_label(model),
        params=count_parameters(model),
        iters=runner.find_hook(MotivationHook).trace.count_iters(name),
        metrics=history[-1].models[name].metrics if history else {},
        best=best_values(history, name),
        compute=None if meter is None else _model_compute(meter, name),
    )


def _run_compute(meter: ComputeMeter) -> RunCompute:
    """Return the compute of a run."""
    return RunCompute(
        distillation_iters=meter.distilled.iters,
        total_train_flops=meter.total_train_flops,
        motivated_alone_train_flops=meter.motivated_alone_train_flops,
        saving=meter.motivated_alone_train_flops / meter.total_train_flops,
    )


def _model_compute(meter: ComputeMeter, name: ModelName) -> ModelCompute:
    """Return the compute of one model."""
    totals = meter.describe(name)
    del totals['iters']
    return ModelCompute(**meter.per_image[name], **totals)


def read_recorded_run(run: Path) -> RecordedRun:
    """Return the switch trace and the validations of a run.

    Args:
        run: Work_dir of the run, or its ``switches.npz``. The validations of an unfinished run are those of its
            newest checkpoint.

    Raises:
        ConfigError: The run has no trace, or a file is corrupted.
    """
    folder, trace = run if run.is_dir() else run.parent, SwitchTrace.load(run)
    if (folder / 'report.json').is_file():
        report = RunReport.read(folder / 'report.json')
        return RecordedRun(str(run), trace, report.history, f'{report.policy}, seed {report.seed}')
    checkpoints = find_checkpoints(folder)
    state = read_checkpoint(checkpoints[-1]).get('report') if checkpoints else None
    return RecordedRun(str(run), trace, [Validation.from_json(row) for row in state['history']] if state else [])
