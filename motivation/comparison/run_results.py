"""The results of one run, from its report and, where it has one, its teacher's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from motivation.comparison.jobs import Job
from motivation.errors import ArgumentError, ConfigError
from motivation.report.structure import RunReport
from motivation.structures import MODEL_NAMES

Run = dict[str, Any]


def read_report(job: Job) -> RunReport:
    """Return the report of a finished run."""
    return RunReport.read(job.folder / 'report.json')


def first_metric(reports: Iterable[RunReport]) -> str:
    """Return the first metric that a run reports.

    Raises:
        ConfigError: None reports any.
    """
    names = (name for report in reports for model in MODEL_NAMES for name in report.model(model).metrics)
    metric = next(names, None)
    if metric is None:
        raise ConfigError('the runs report no metric, so there is nothing to compare; give the config a val_evaluator')
    return metric


def read_run(job: Job, finished: dict[tuple[str, int], Job], metric: str) -> Run:
    """Return what a comparison takes from a run.

    Args:
        job: The run, which has finished.
        finished: All finished runs by label and seed, of which one may be its teacher.
        metric: The metric that is compared.

    Raises:
        ArgumentError: The run does not report the metric.
        ConfigError: A report is damaged.
    """
    report = read_report(job)
    before: float | None = 0
    waited = 0.0
    models = [name for name in MODEL_NAMES if name in job.arm.trains]
    accuracies: dict[str, float] = {name: _metric(report.model(name).metrics, metric, name) for name in models}
    if job.arm.source == 'distillation':  # the teacher counts as its motivated model, with the cost of training it
        reference = finished.get((job.arm.reference or '', job.seed))
        teacher = read_report(reference) if reference else read_teacher_report(job.arm.options['teacher'])
        before, waited = _of_run(teacher, 'total_train_flops'), teacher.wall_seconds
        accuracies['motivated'] = _metric(teacher.motivated.metrics, metric, 'motivated')
    base, motivated = (part.compute.train_flops if part.compute else None for part in (report.base, report.motivated))
    return {
        'seed': job.seed,
        'folder': str(job.folder),
        'policy': report.policy,
        'epochs': report.epochs,
        **{name: accuracies.get(name) for name in MODEL_NAMES},
        'base_train_flops': base,
        'motivated_train_flops': plus(motivated, before),
        'total_train_flops': plus(_of_run(report, 'total_train_flops'), before),
        'motivated_alone_train_flops': _of_run(report, 'motivated_alone_train_flops'),
        'motivated_fraction': None if job.arm.source == 'distillation' else report.motivated_fraction,
        'wall_seconds': report.wall_seconds + waited,
        'history': [
            {
                'epoch': row.epoch,
                'total_train_flops': plus(row.total_train_flops, before),
                **{name: row.models[name].metrics.get(metric) if name in models else None for name in MODEL_NAMES},
            }
            for row in report.history
        ],
    }


def _of_run(report: RunReport, field: str) -> int | None:
    return None if report.compute is None else getattr(report.compute, field)


def plus(one: float | None, other: float | None) -> float | None:
    """Return the sum of two numbers, or ``None`` if one of them is unknown."""
    return None if one is None or other is None else one + other


def read_teacher_report(teacher: str) -> RunReport:
    """Return the report of the run that exported a teacher, which contains the cost of training it.

    Args:
        teacher: Path of the teacher's ``motivated.pth``; the report is in the same folder.

    Raises:
        ConfigError: There is no report, or it is damaged.
    """
    report = Path(teacher).parent / 'report.json'
    if not report.is_file():
        raise ConfigError(
            f'distillation:teacher={teacher} has no report.json beside it, so its cost is unknown; give the '
            "motivated.pth in the work_dir of its run, or an arm 'always'"
        )
    return RunReport.read(report)


def _metric(metrics: dict[str, float], metric: str, model: str) -> float:
    if metric not in metrics:
        raise ArgumentError(
            'metric', f'is {metric!r}, which a run does not report for {model}; it reports {", ".join(metrics)}'
        )
    return metrics[metric]
