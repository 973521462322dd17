"""Checking the metric names in a config against the metrics that validation reports."""

import copy
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.evaluator import DumpResults
from mmengine.hooks import EarlyStoppingHook
from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import BaseLoop

from motivation.config.components import components
from motivation.errors import ConfigError, near_matches
from motivation.models import DualModel
from motivation.structures import MODEL_NAMES, averaged_name, model_of, split_metric
from motivation.utils.arguments import arguments_of


class UnknownMetricError(ConfigError):
    """A config names a metric that validation does not report."""


class NamedMetric(NamedTuple):
    """A metric that a field of a config names.

    Attributes:
        field: Dotted path of the field.
        name: Name of the metric.
        of_each_model: Whether the name lacks ``base/`` or ``motivated/`` and stands for all that is scored.
    """

    field: str
    name: str
    of_each_model: bool


def named_metrics(plain: dict[str, Any]) -> Iterator[NamedMetric]:
    """Yield every metric that a config names, including defaults of its components.

    Args:
        plain: The config, as a plain dict.
    """
    for path, node, component in components(plain):
        argument = _argument(component)
        if argument is None:
            continue
        parameter = arguments_of(component)[0].get(argument)
        value = node.get(argument, parameter.default if parameter is not None else None)
        for name in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ():
            if name != 'auto':
                yield NamedMetric(f'{path}.{argument}', name, getattr(component, 'metric_of_each_model', False))


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
    """
    reported, open_prefixes = list(reported), tuple(open_prefixes)
    for field, name, of_each_model in named_metrics(plain):
        known = {split_metric(metric)[1] for metric in reported} if of_each_model else set(reported)
        full = [f'{model}/{name}' for model in MODEL_NAMES] if of_each_model else [name]
        if name in known or any(metric.startswith(open_prefixes) for metric in full):
            continue
        raise UnknownMetricError(f'{field} is {name!r}, which {_way_out(name, known, reported, of_each_model)}')


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
    for field, name, _ in named_metrics(plain):
        if field.startswith('motivation.'):
            continue  # policy_signals.Signals checks policies that ask for metrics
        raise UnknownMetricError(
            f'{field} is {name!r}, a metric of validation, and this run has none; give the config val_dataloader, val_cfg '
            'and val_evaluator, or leave the field out'
        )


def foresee_metrics(plain: dict[str, Any], model: DualModel, loop: BaseLoop, batch: Any) -> None:
    """Check metric names before training, against the metrics computed on one sample.

    Names after the prefix of a user-defined metric may depend on the data and are only checked by a real validation.

    Args:
        plain: The config, as a plain dict.
        model: Both models, in evaluation mode; the caller preserves buffers and random states.
        loop: The validation loop; its evaluators are not changed.
        batch: A batch of one sample.

    Raises:
        UnknownMetricError: See :func:`check_named_metrics`.
    """
    if not any(named_metrics(plain)):
        return
    reported: list[str] = []
    open_prefixes: list[str] = []
    evaluators: Mapping[str, Any] = loop.evaluators
    for name, outputs in model.val_step(batch, models=list(evaluators)).items():
        for metric in _after(evaluators[name], outputs, batch):
            prefix = '/'.join(part for part in (name, metric.prefix) if part)
            try:
                names = {} if isinstance(metric, DumpResults) else metric.compute_metrics(metric.results)
            except Exception:  # one sample may be too few for a metric
                names, open_prefixes = {}, [*open_prefixes, f'{prefix}/']
            reported += [f'{prefix}/{key}' for key in names]
            if not re.match(r'motivation\.', type(metric).__module__):
                open_prefixes.append(f'{prefix}/')
    check_named_metrics(plain, reported, open_prefixes)


def _after(evaluator: Any, outputs: Any, batch: Any) -> list[Any]:
    """Return copies of the metrics of an evaluator, after they have processed the predictions."""
    evaluator = copy.deepcopy(evaluator)
    evaluator.process(data_samples=outputs, data_batch=batch)
    return evaluator.metrics
