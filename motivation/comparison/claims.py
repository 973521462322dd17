"""Differences between the arms of a comparison, and the claims that follow from the kinds of its arms."""

from collections.abc import Iterator, Sequence
from typing import Any

from motivation.comparison.results import BASELINES, Arm, Run, both_counted, compare_pair, find_kind, paired
from motivation.comparison.statistics import FIXED, Interval, PairedTest
from motivation.comparison.verdicts import Statement, describe_interval, judge
from motivation.report.metric_units import form_of, unit_of
from motivation.structures import MODEL_NAMES, lower_is_better


def find_differences(arms: Sequence[Arm], test: PairedTest = FIXED) -> list[dict[str, Any]]:
    """Return the differences in accuracy between arms, paired by seed.

    Every arm is compared with the arms that train one model alone: with ``never`` by the base model, with
    ``always`` by the motivated model. It is also compared with the controls derived from it by both models,
    and with ``distillation`` by the base model.

    Args:
        arms: Arms of a comparison.
        test: The test whose intervals are computed. Default: that of a fixed number of seeds.

    Returns:
        One row of :func:`~motivation.comparison.results.compare_pair` for each comparison.
    """
    return list(filter(None, (compare_pair(*pair, test) for pair in _pairs(arms))))


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
            if arm['kind'] not in BASELINES:
                yield arm, distilled, 'base'


def judge_claims(comparison: dict[str, Any], test: PairedTest = FIXED) -> list[dict[str, Any]]:
    """Judge each claim that the runs bear on.

    Args:
        comparison: Data of :func:`~motivation.comparison.results.gather`, with ``'differences'``.
        test: The test. Default: that of a fixed number of seeds.

    Returns:
        The items of :func:`~motivation.comparison.verdicts.judge`.
    """
    metric = comparison['metric']
    claims = [_state(row, metric, test) for row in comparison['differences']]
    for one in comparison['equal_flops'].values():
        when = f' after {one["train_flops"]:.3g} FLOPs'
        claims += [_state(row, metric, test, when) for row in one['differences']]
    return judge([*claims, *_cost_claims(comparison, test)], test)


def _state(row: dict[str, Any], metric: str, test: PairedTest, when: str = '') -> Statement:
    sign = -1 if lower_is_better(metric) else 1
    interval = Interval(row['mean'], row['low'], row['high'], row['n'])
    return Statement(
        f'{row["arm"]}: its {row["model"]} model is better than that of {row["against"]}{when}',
        [[sign * value for value in row['values']]],
        describe_interval(interval, unit_of(metric), form_of(metric), test.interval_name),
    )


def _cost_claims(comparison: dict[str, Any], test: PairedTest) -> Iterator[Statement]:
    arms = comparison['arms']
    for against in (find_kind(arms, 'Always'), comparison['standalone']):
        for arm in arms:
            if against is None or arm['kind'] in ('Never', 'Always'):
                continue
            saved = paired(arm, against, percent_saved)
            interval = test.interval(saved)
            if interval is not None:
                yield Statement(
                    f'{arm["arm"]}: both models cost fewer training FLOPs than {against["arm"]}',
                    [[round(value, 2) for value in saved]],  # as in the sentence: 0.00 % is no saving
                    describe_interval(interval, '% saved', name=test.interval_name),
                )


def percent_saved(run: Run, other: Run) -> float | None:
    """Return how many training FLOPs fewer a run took than another, in percent; ``None`` where they were not counted."""
    return 100 * (1 - run['total_train_flops'] / other['total_train_flops']) if both_counted(run, other) else None
