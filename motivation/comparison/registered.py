"""The claims that a study states before it runs: whether its arms can decide them, and what they come to."""

from collections.abc import Sequence
from typing import Any

from motivation.comparison import arms as planned
from motivation.comparison.claims import percent_saved
from motivation.comparison.results import Arm, differences, paired
from motivation.comparison.statistics import PairedTest
from motivation.comparison.verdicts import Statement, describe_interval, judge
from motivation.config.claims import Claim
from motivation.errors import ArgumentError, near_matches
from motivation.report.metric_units import form_of, unit_of
from motivation.structures import lower_is_better


def check_claims(claims: Sequence[Claim], arms: Sequence[planned.Arm]) -> None:
    """Check that the runs of the arms can decide each claim.

    Raises:
        ArgumentError: A label is no arm, stands twice in a claim, or is of an arm without the model.
    """
    by_label = {arm.label: arm for arm in arms}
    for place, claim in enumerate(claims):
        other = 'cheaper_than' if claim.better_than is None else 'better_than'
        seen: list[str] = []
        for field, label in [('arm', claim.arm), *((other, label) for label in claim.against)]:
            where = f'claims.{place}.{field}'
            if label not in by_label:
                raise ArgumentError(where, f'{label!r} is not an arm; {near_matches(label, by_label)}')
            own = by_label[label]
            if claim.model is not None and claim.model not in _models(own):
                raise ArgumentError(
                    where, f'{label!r} has no {claim.model} model; it has the {" and the ".join(_models(own))}'
                )
            taught = own.source == 'distillation' and claim.model == 'motivated'
            trained_by = (
                own.reference or label if taught else label
            )  # the motivated model of a distillation is its teacher
            if trained_by in seen:
                raise ArgumentError(where, f'{label!r} would be compared with itself; name different arms')
            seen.append(trained_by)


def _models(arm: planned.Arm) -> tuple[str, ...]:
    """Return the models whose metric an arm has; that of a distillation includes its teacher."""
    return (*arm.trains, 'motivated') if arm.source == 'distillation' else arm.trains


def judge_registered(claims: Sequence[Claim], comparison: dict[str, Any], test: PairedTest) -> list[dict[str, Any]]:
    """Judge the claims of a study.

    Args:
        claims: The claims, all of which count in the correction for their number.
        comparison: ``'metric'`` and ``'arms'`` of :func:`~motivation.comparison.results.gather`.
        test: The test.

    Returns:
        The items of :func:`~motivation.comparison.verdicts.judge`.
    """
    arms = {arm['arm']: arm for arm in comparison['arms']}
    state = {True: _state_better, False: _state_cheaper}
    return judge(
        [state[claim.better_than is not None](claim, arms, comparison['metric'], test) for claim in claims], test
    )


def _state_better(claim: Claim, arms: dict[str, Arm], metric: str, test: PairedTest) -> Statement:
    sign, unit = -1 if lower_is_better(metric) else 1, unit_of(metric)
    each = [differences(arms[claim.arm], arms[label], str(claim.model)) for label in claim.against]
    margin = f'{abs(claim.by):g} {unit}'.rstrip()
    more = f'less than {margin} worse' if claim.by < 0 else 'better'
    text = f'{claim.arm}: its {claim.model} model is {more} than that of {" and of ".join(claim.against)}'
    return Statement(
        f'{text} by more than {margin}' if claim.by > 0 else text,
        [[sign * value - claim.by for value in values] for values in each],
        '; '.join(
            _describe(values, unit, form_of(metric), test) + (f' against {label}' if len(each) > 1 else '')
            for label, values in zip(claim.against, each, strict=True)
        ),
    )


def _state_cheaper(claim: Claim, arms: dict[str, Arm], metric: str, test: PairedTest) -> Statement:
    saved = paired(arms[claim.arm], _added([arms[label] for label in claim.against]), percent_saved)
    needed = 100 * (1 - 1 / claim.factor)
    own = 'its training FLOPs' if claim.factor == 1 else f'{claim.factor:g} times its training FLOPs'
    return Statement(
        f'{claim.arm}: {own} are fewer than those of {" + ".join(claim.against)}',
        [[value - needed for value in saved]],
        _describe(saved, '% saved', '.2f', test) + (f'; {needed:.2f} needed' if needed else ''),
    )


def _added(arms: Sequence[Arm]) -> Arm:
    """Return arms as one that costs their training FLOPs together, with each seed that all of them have."""
    costs = [{run['seed']: run['total_train_flops'] for run in arm['runs']} for arm in arms]
    seeds = [seed for seed in costs[0] if all(seed in cost for cost in costs)]
    known = [seed for seed in seeds if all(cost[seed] is not None for cost in costs)]
    return {'runs': [{'seed': seed, 'total_train_flops': sum(cost[seed] for cost in costs)} for seed in known]}


def _describe(values: Sequence[float], unit: str, form: str, test: PairedTest) -> str:
    interval = test.interval(values)
    return 'no seed of both' if interval is None else describe_interval(interval, unit, form, test.interval_name)
