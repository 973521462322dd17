"""Verdicts of a comparison: differences between arms, and the claims they support or contradict."""

from collections.abc import Iterator, Sequence
from typing import Any

from motivation.comparison.results import Arm, Run, both_counted, compare_pair, find_kind, paired
from motivation.comparison.statistics import Interval
from motivation.report.metric_units import form_of, unit_of
from motivation.structures import MODEL_NAMES, lower_is_better

# Kinds of arms that do not decide when to activate the motivated model.
_BASELINES = ('Never', 'Always', 'distillation')


def find_differences(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return the differences in accuracy between arms, paired by seed.

    Every arm is compared with the arms that train one model alone: with ``never`` by the base model, with
    ``always`` by the motivated model. It is also compared with the controls derived from it by both models,
    and with ``distillation`` by the base model.

    Args:
        arms: Arms of a comparison.

    Returns:
        One row of :func:`~motivation.comparison.results.compare_pair` for each comparison.
    """
    return list(filter(None, (compare_pair(*pair) for pair in _pairs(arms))))


def _pairs(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm, str]]:
    """Yield each arm, the arm that it is compared with, and the name of the model that is compared."""
    for model, kind in zip(MODEL_NAMES, ('Never', 'Always'), strict=True):
        for place, against in enumerate(arms):
            if against['kind'] != kind:
                continue
            for other, arm in enumerate(arms):
                earlier = arm['kind'] == kind and other < place  # the pair was yielded the other way round
                if other != place and not earlier and arm['made_from'] != against['arm']:
                    yield arm, against, model
    by_label = {arm['arm']: arm for arm in arms}
    for control in arms:
        condition = by_label.get(control['made_from'])
        if condition is not None and control['kind'] != 'distillation':
            for model in MODEL_NAMES:
                yield condition, control, model
    for distilled in (arm for arm in arms if arm['kind'] == 'distillation'):
        for arm in arms:
            if arm['kind'] not in _BASELINES:
                yield arm, distilled, 'base'


def judge_claims(comparison: dict[str, Any]) -> list[dict[str, str]]:
    """Judge each claim that the runs bear on.

    Args:
        comparison: Data of :func:`~motivation.comparison.results.gather`, with ``'differences'``.

    Returns:
        ``'claim'``, ``'verdict'`` (``'supported'``, ``'contradicted'`` or ``'not decided'``) and ``'evidence'``
        of each claim.
    """
    metric = comparison['metric']
    claims = [_judge(row, metric) for row in comparison['differences']]
    for one in comparison['equal_flops'].values():
        claims += [_judge(row, metric, f' after {one["train_flops"]:.3g} FLOPs') for row in one['differences']]
    return claims + list(_cost_claims(comparison))


def _judge(row: dict[str, Any], metric: str, when: str = '') -> dict[str, str]:
    interval = Interval(row['mean'], row['low'], row['high'], row['n'])
    better = interval.negated() if lower_is_better(metric) else interval
    return {
        'claim': f'{row["arm"]}: its {row["model"]} model is better than that of {row["against"]}{when}',
        'verdict': better.verdict(),
        'evidence': describe_interval(interval, unit_of(metric), form_of(metric)),
    }


def _cost_claims(comparison: dict[str, Any]) -> Iterator[dict[str, str]]:
    arms = comparison['arms']
    for against in (find_kind(arms, 'Always'), comparison['standalone']):
        for arm in arms:
            if against is None or arm['kind'] in ('Never', 'Always'):
                continue
            saved = paired(arm, against, _percent_saved)
            if saved is not None:
                yield {
                    'claim': f'{arm["arm"]}: both models cost fewer training FLOPs than {against["arm"]}',
                    'verdict': saved.verdict(),
                    'evidence': describe_interval(saved, '% saved'),
                }


def _percent_saved(run: Run, other: Run) -> float | None:
    """How many training FLOPs fewer a run took than another; ``None`` where they were not counted."""
    return 100 * (1 - run['total_train_flops'] / other['total_train_flops']) if both_counted(run, other) else None


def describe_interval(interval: Interval, unit: str, form: str = '.2f') -> str:
    """Return an interval as text, such as ``'+1.20 points, 95 % interval +0.31 to +2.09 (3 seeds)'``."""
    seeds = f'{interval.n} seed{"s" if interval.n > 1 else ""}'
    if interval.low is None or interval.high is None:
        return f'{interval.mean:+{form}} {unit} ({seeds}: no interval)'
    return f'{interval.mean:+{form}} {unit}, 95 % interval {interval.low:+{form}} to {interval.high:+{form}} ({seeds})'
