"""Results of a comparison as plain data, gathered from the reports of its runs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from motivation.comparison.jobs import Job
from motivation.comparison.pareto import mark_front
from motivation.comparison.run_results import Run, first_metric, plus, read_report, read_run
from motivation.comparison.statistics import FIXED, PairedTest, summarise
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES

# Version of the data of a comparison, which compare.schema.json describes: a field that is renamed, removed or gets
# another meaning raises it.
SCHEMA = 1

Arm = dict[str, Any]

# Kinds of arms that do not decide when to activate the motivated model.
BASELINES = ('Never', 'Always', 'distillation')


def gather(jobs: Sequence[Job], metric: str | None, about: dict[str, Any], test: PairedTest = FIXED) -> dict[str, Any]:
    """Read the reports of the runs and summarise each arm over seeds.

    Args:
        jobs: All jobs, whatever their status.
        metric: The metric to compare, such as ``'accuracy/top1'``; ``None`` for the first that the runs report.
        about: What the arms share: config, epochs, seeds.
        test: The test whose intervals are computed. Default: that of a fixed number of seeds.

    Returns:
        ``schema``, the version; the items of ``about`` and ``metric``; ``test``: what describes the test; ``arms``: the runs of each arm, their
        summary, and for which models it is on the Pareto front; ``standalone``: the same for both standalone trainings
        taken together, or ``None`` if one is missing; ``equal_flops``: see :func:`equal_flops`.

    Raises:
        ConfigError: No run has finished, none reports the metric, or a report is damaged.
    """
    finished = {(job.arm.label, job.seed): job for job in jobs if job.status == 'finished'}
    if not finished:
        raise ConfigError('no run has finished, so there is nothing to compare')
    metric = metric or first_metric(map(read_report, finished.values()))
    by_label: dict[str, list[Job]] = {}
    for job in jobs:
        by_label.setdefault(job.arm.label, []).append(job)
    arms = []
    for label, own in by_label.items():
        # One report at a time: those of thousands of runs hold much that is not compared.
        runs = [read_run(job, finished, metric) for job in own if job.status == 'finished']
        arms.append(
            {
                'arm': label,
                'kind': own[0].arm.policy or 'distillation',
                'trains': list(own[0].arm.trains),
                'made_from': own[0].arm.reference,
                'policy': runs[0]['policy'] if runs else None,
                'runs': runs,
                'unfinished': [
                    {'seed': job.seed, 'status': job.status, 'reason': job.reason, 'folder': str(job.folder)}
                    for job in own
                    if job.status != 'finished'
                ],
            }
        )
    standalone = _pair_standalone(arms)
    always = find_kind(arms, 'Always')
    for arm in [*arms, *([standalone] if standalone else [])]:
        arm['summary'] = _summarise(arm, always)
    mark_front(arms, metric)
    return {
        'schema': SCHEMA,
        **about,
        'metric': metric,
        'test': test.describe(),
        'arms': arms,
        'standalone': standalone,
        'equal_flops': equal_flops(arms, test),
    }


def find_kind(arms: Sequence[Arm], kind: str) -> Arm | None:
    """Return the first arm of a kind that has finished runs, or ``None`` if there is none."""
    return next((arm for arm in arms if arm['kind'] == kind and arm['runs']), None)


def _pair_standalone(arms: Sequence[Arm]) -> Arm | None:
    """Return both standalone trainings as one arm: the usual way to get the two models; ``None`` if one is missing."""
    never, always = find_kind(arms, 'Never'), find_kind(arms, 'Always')
    if never is None or always is None:
        return None
    runs = []
    for base, motivated in _by_seed(never, always):
        total = plus(base['total_train_flops'], motivated['total_train_flops'])
        runs.append(
            {
                'seed': base['seed'],
                'base': base['base'],
                'motivated': motivated['motivated'],
                'base_train_flops': base['total_train_flops'],
                'motivated_train_flops': motivated['total_train_flops'],
                'total_train_flops': total,
                'motivated_alone_train_flops': motivated['motivated_alone_train_flops'],
                'motivated_fraction': None,
                'wall_seconds': base['wall_seconds'] + motivated['wall_seconds'],
            }
        )
    return {'arm': f'{never["arm"]} + {always["arm"]}', 'kind': 'never + always', 'runs': runs} if runs else None


def _by_seed(one: Arm, other: Arm) -> list[tuple[Run, Run]]:
    """Return the pairs of runs of two arms that have the same seed."""
    others = {run['seed']: run for run in other['runs']}
    return [(run, others[run['seed']]) for run in one['runs'] if run['seed'] in others]


_SUMMARISED = (
    'base', 'motivated', 'base_train_flops', 'motivated_train_flops', 'total_train_flops', 'motivated_fraction',
    'wall_seconds',
)  # fmt: skip


def _summarise(arm: Arm, always: Arm | None) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in _SUMMARISED:
        values = summarise([run[name] for run in arm['runs'] if run[name] is not None])
        summary[name] = asdict(values) if values else None
    pairs = _by_seed(arm, always) if always else []
    values = summarise(
        [other['total_train_flops'] / run['total_train_flops'] for run, other in pairs if both_counted(run, other)]
    )
    summary['saving'] = asdict(values) if values else None
    return summary


def both_counted(one: Run, other: Run) -> bool:
    """Return whether the training FLOPs of both runs are known."""
    return one['total_train_flops'] is not None and other['total_train_flops'] is not None


def paired(one: Arm, other: Arm, value: Callable[[Run, Run], float | None]) -> list[float]:
    """Return a value of two runs for each shared seed for which it is not ``None``, in the order of the seeds."""
    values = [value(run, against) for run, against in _by_seed(one, other)]
    return [number for number in values if number is not None]


def equal_flops(arms: Sequence[Arm], test: PairedTest = FIXED) -> dict[str, Any]:
    """Compare the arms at equal training FLOPs: those of the cheapest arm that trains the model.

    The metric is interpolated linearly between two validations. An arm is left out if one of its runs had not
    been validated by then, or its FLOPs were not counted.

    Returns:
        For each model: ``train_flops``, the FLOPs; ``arms``, the summary over seeds by arm; ``differences``, paired
        by seed, from the arm that trains the model alone.
    """
    table: dict[str, Any] = {}
    for model, kind in zip(MODEL_NAMES, ('Never', 'Always'), strict=True):
        ends = [run['history'][-1] for arm in arms for run in arm['runs'] if run['history']]
        ends = [end for end in ends if end[model] is not None and end['total_train_flops'] is not None]
        if not ends:
            continue
        budget = min(end['total_train_flops'] for end in ends)
        then = {
            arm['arm']: {'arm': arm['arm'], 'kind': arm['kind'], 'runs': _runs_at(arm, model, budget)} for arm in arms
        }
        known = {label: arm for label, arm in then.items() if arm['runs']}
        table[model] = {
            'train_flops': budget,
            'arms': {
                label: asdict(values)
                for label, arm in known.items()
                if (values := summarise([run[model] for run in arm['runs']]))
            },
            'differences': [],
        }
        against = find_kind(list(known.values()), kind)
        rows = (compare_pair(arm, against, model, test) for arm in known.values() if against and arm is not against)
        table[model]['differences'] += filter(None, rows)
    return table


def compare_pair(arm: Arm, against: Arm, model: str, test: PairedTest = FIXED) -> dict[str, Any] | None:
    """Compute how much higher the metric of a model is in one arm than in another, paired by seed.

    Returns:
        ``arm``, ``against``, ``model``; ``values``, the difference with each seed; and the ``mean``, ``low``, ``high``
        and ``n`` of their interval; ``None`` if no seed has the model trained by both arms.
    """
    values = differences(arm, against, model)
    interval = test.interval(values)
    if interval is None:
        return None
    return {'arm': arm['arm'], 'against': against['arm'], 'model': model, 'values': values, **asdict(interval)}


def differences(arm: Arm, against: Arm, model: str) -> list[float]:
    """Return how much higher the metric of a model is in one arm than in another, with each shared seed."""

    def difference(run: Run, other: Run) -> float | None:
        return None if run[model] is None or other[model] is None else run[model] - other[model]

    return paired(arm, against, difference)


def _runs_at(arm: Arm, model: str, train_flops: float) -> list[Run]:
    """Return the runs of an arm with their metric at a cost; none if the metric of one run is unknown there."""
    values = [_metric_at(run['history'], model, train_flops) for run in arm['runs']]
    if None in values:
        return []
    return [{'seed': run['seed'], model: value} for run, value in zip(arm['runs'], values, strict=True)]


def _metric_at(history: Sequence[dict[str, Any]], model: str, train_flops: float) -> float | None:
    """Interpolate the metric of a model at a cost, or return ``None`` if no validations enclose it."""
    before = None
    for row in history:
        here, value = row['total_train_flops'], row[model]
        if value is None or here is None:
            return None
        if here == train_flops or (here > train_flops and before is None):
            return value if here == train_flops else None
        if here > train_flops and before is not None:
            share = (train_flops - before[0]) / (here - before[0])
            return before[1] + share * (value - before[1])
        before = here, value
    return None
