"""Checking the metric names in a config against the metrics that validation reports."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mmengine.hooks import EarlyStoppingHook
from mmengine.optim import ReduceOnPlateauParamScheduler

from motivation.config.components import components
from motivation.errors import ConfigError, near_matches
from motivation.structures import MODEL_NAMES, averaged_name, kind_of, lower_is_better, model_of, split_metric
from motivation.utils.arguments import arguments_of


class UnknownMetricError(ConfigError):
    """A config names a metric that validation does not report."""


class NamedMetric(NamedTuple):
    """A metric that a field of a config names.

    Attributes:
        field: Dotted path of the field.
        name: Name of the metric.
        of_each_model: Whether the name lacks ``base/`` or ``motivated/`` and stands for all that is scored.
        rule: ``'less'`` or ``'greater'``: what its field takes for better; ``None`` if it does not say.
    """

    field: str
    name: str
    of_each_model: bool
    rule: str | None = None


def named_metrics(plain: dict[str, Any]) -> Iterator[NamedMetric]:
    """Yield every metric that a config names, including defaults of its components.

    Args:
        plain: The config, as a plain dict.
    """
    for path, node, component in components(plain):
        argument = _argument(component)
        if argument is None:
            continue
        parameters = arguments_of(component)[0]
        parameter = parameters.get(argument)
        rule = node.get('rule', parameters['rule'].default) if argument == 'monitor' and 'rule' in parameters else None
        value = node.get(argument, parameter.default if parameter is not None else None)
        for name in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ():
            if name != 'auto':
                yield NamedMetric(f'{path}.{argument}', name, getattr(component, 'metric_of_each_model', False), rule)


def _argument(component: Any) -> str | None:
    """Return the argument of a component that names a metric, or ``None``."""
    if not isinstance(component, type):
        return None
    if issubclass(component, (ReduceOnPlateauParamScheduler, EarlyStoppingHook)):
        return 'monitor'
    update = getattr(component, 'update', None)  # a policy that receives validation results
    if update is not None and 'metrics' in inspect.signature(update).parameters:
        return 'metric'
    return getattr(component, 'metric_argument', None)


def check_named_metrics(plain: dict[str, Any], reported: Iterable[str], open_prefixes: Iterable[str] = ()) -> None:
    """Check that validation reports every metric that a config names.

    Args:
        plain: The config, as a plain dict.
        reported: Names of the reported metrics, such as ``base/accuracy/top1``.
        open_prefixes: Prefixes after which any name is accepted.

    Raises:
        UnknownMetricError: A metric is not reported; names the field, its value and the fix.
        ConfigError: A field takes lower values of a metric for better whose higher ones are, or the reverse.
    """
    reported, open_prefixes = list(reported), tuple(open_prefixes)
    for field, name, of_each_model, rule in named_metrics(plain):
        _check_rule(field, name, rule)
        known = {split_metric(metric)[1] for metric in reported} if of_each_model else set(reported)
        full = [f'{model}/{name}' for model in MODEL_NAMES] if of_each_model else [name]
        if name in known or any(metric.startswith(open_prefixes) for metric in full):
            continue
        raise UnknownMetricError(f'{field} is {name!r}, which {_way_out(name, known, reported, of_each_model)}')


def _check_rule(field: str, name: str, rule: str | None) -> None:
    """Check that a field takes for better what is better."""
    better = 'less' if lower_is_better(name) else 'greater'
    if rule is not None and rule != better and kind_of(name) is not None:
        which = 'lower' if better == 'less' else 'higher'
        raise ConfigError(
            f'{field.rpartition(".")[0]}.rule is {rule!r}, and {which} values of {name} are better; write rule={better!r}'
        )


def _way_out(name: str, known: Iterable[str], reported: Iterable[str], of_each_model: bool) -> str:
    """Return why a metric is not reported, and what to write instead."""
    scored = dict.fromkeys(split_metric(metric)[0] for metric in reported)
    every = [*MODEL_NAMES, *map(averaged_name, MODEL_NAMES)]
    # The name of a model, or of its average, before a metric; a field for all of them also sees 'ema/...'.
    begun = next((part for part in reversed(every) if name.startswith(f'{part}/')), '')
    metric = name.removeprefix(f'{begun}/').removeprefix('ema/' if of_each_model else '')
    if of_each_model and metric != name and metric in known:
        return f'names what is scored, and each model and average has its own best: write {metric!r}'
    if begun and begun not in scored and metric in {split_metric(other)[1] for other in reported}:
        if begun not in MODEL_NAMES and model_of(begun) in scored:
            return (
                f'needs averaged weights: write model.ema=dict(decay=0.999), or name {f"{model_of(begun)}/{metric}"!r}'
            )
        return f'needs the {model_of(begun)} model, which val_cfg.models leaves out; add it, or name another metric'
    return f'validation does not report; {near_matches(name, known)}'


def check_no_metrics(plain: dict[str, Any]) -> None:
    """Check that a run without validation names no metric, because it would wait for it forever.

    Args:
        plain: The config, as a plain dict.

    Raises:
        UnknownMetricError: A field names a metric.
    """
    for field, name, *_ in named_metrics(plain):
        if field.startswith('motivation.'):
            continue  # policy_signals.Signals checks policies that ask for metrics
        raise UnknownMetricError(
            f'{field} is {name!r}, a metric of validation, and this run has none; give the config val_dataloader, val_cfg '
            'and val_evaluator, or leave the field out'
        )
