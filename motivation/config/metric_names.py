"""Names of metrics that a config gives to schedules, hooks and policies, against those that validation reports."""

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
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import arguments_of


class UnknownMetricError(ConfigError):
    """A config names a metric that validation does not report."""


class NamedMetric(NamedTuple):
    """A metric that a field names.

    Attributes:
        field: The dotted path of the field.
        name: The metric.
        of_each_model: Whether it is named without ``base/`` or ``motivated/``, for both.
    """

    field: str
    name: str
    of_each_model: bool


def named_metrics(plain: dict[str, Any]) -> Iterator[NamedMetric]:
    """Every metric that a config names, the defaults of its components included.

    Args:
        plain: A config, as a plain dict.
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
    """The argument of a component that names a metric, if it has one."""
    if not isinstance(component, type):
        return None
    if issubclass(component, (ReduceOnPlateauParamScheduler, EarlyStoppingHook)):
        return 'monitor'
    update = getattr(component, 'update', None)  # a policy that is told of validation
    if update is not None and 'metrics' in inspect.signature(update).parameters:
        return 'metric'
    return getattr(component, 'metric_argument', None)


def check_named_metrics(plain: dict[str, Any], reported: Iterable[str], open_prefixes: Iterable[str] = ()) -> None:
    """Refuse names that validation does not report.

    Args:
        plain: A config, as a plain dict.
        reported: Names as validation reports them, ``base/accuracy/top1`` and so on.
        open_prefixes: What names may begin with though nothing is known of the rest.

    Raises:
        UnknownMetricError: Names the field, its value and what would be right.
    """
    reported, open_prefixes = list(reported), tuple(open_prefixes)
    for field, name, of_each_model in named_metrics(plain):
        known = {metric.partition('/')[2] for metric in reported} if of_each_model else set(reported)
        full = [f'{model}/{name}' for model in MODEL_NAMES] if of_each_model else [name]
        if name in known or any(one.startswith(open_prefixes) for one in full):
            continue
        raise UnknownMetricError(f'{field} is {name!r}, which validation does not report; {near_matches(name, known)}')


def check_no_metrics(plain: dict[str, Any]) -> None:
    """Refuse names of metrics in a run without validation, which would wait for them for ever.

    Args:
        plain: A config, as a plain dict.

    Raises:
        UnknownMetricError: Names the field and its value.
    """
    for field, name, _ in named_metrics(plain):
        if field.startswith('motivation.'):
            continue  # a policy that asks for metrics at all is refused where its signals are gathered
        raise UnknownMetricError(
            f'{field} is {name!r}, a metric of validation, and this run has none; give the config val_dataloader, val_cfg '
            'and val_evaluator, or leave the field out'
        )


def foresee_metrics(plain: dict[str, Any], model: DualModel, loop: BaseLoop, batch: Any) -> None:
    """Refuse names that validation will not report, judged by what its metrics make of one image.

    What follows the prefix of a metric of the user's own may depend on the data; only validation tells.

    Args:
        plain: A config, as a plain dict.
        model: Both models, in evaluation mode; the caller preserves buffers and random states.
        loop: The validation loop, with an evaluator for each model; they stay as they are.
        batch: One image of its data.

    Raises:
        UnknownMetricError: As of :func:`check_named_metrics`.
    """
    if not any(named_metrics(plain)):
        return
    reported: list[str] = []
    open_prefixes: list[str] = []
    evaluators: Mapping[ModelName, Any] = loop.evaluators
    for name, outputs in model.val_step(batch, models=list(evaluators)).items():
        for metric in _after(evaluators[name], outputs, batch):
            prefix = '/'.join(part for part in (name, metric.prefix) if part)
            try:
                found = {} if isinstance(metric, DumpResults) else metric.compute_metrics(metric.results)
            except Exception:  # one image need not be enough for a metric
                found, open_prefixes = {}, [*open_prefixes, f'{prefix}/']
            reported += [f'{prefix}/{key}' for key in found]
            if not re.match(r'motivation\.', type(metric).__module__):
                open_prefixes.append(f'{prefix}/')
    check_named_metrics(plain, reported, open_prefixes)


def _after(evaluator: Any, outputs: Any, batch: Any) -> list[Any]:
    """Copies of the metrics of an evaluator that have seen the predictions."""
    evaluator = copy.deepcopy(evaluator)
    evaluator.process(data_samples=outputs, data_batch=batch)
    return evaluator.metrics
