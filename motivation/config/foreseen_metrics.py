"""Finding out before training which metrics validation will report."""

import copy
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.runner import BaseLoop

from motivation.config.build import build
from motivation.config.metric_names import check_named_metrics, named_metrics
from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.models import DualModel
from motivation.registry import METRICS
from motivation.structures import MODEL_NAMES, PER_CLASS, averaged_name


class _Reported:
    """The names of the metrics that one evaluator reports.

    Attributes:
        names: Their names, with their prefixes, and the field of the metric that reports each.
        open_prefixes: Prefixes after which any name is accepted, because it may depend on the data.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.open_prefixes: list[str] = []

    def add(self, field: str, metric: BaseMetric) -> None:
        """Add the names of a metric that has processed a sample.

        Raises:
            ConfigError: Another metric reports one of the names, or the metric does not suit the sample.
        """
        prefix = f'{metric.prefix}/' if metric.prefix else ''
        is_own = re.match(r'motivation\.', type(metric).__module__) is not None
        try:
            with warnings.catch_warnings():  # of classes without an image
                warnings.simplefilter('ignore')
                names = {} if isinstance(metric, DumpResults) else metric.compute_metrics(metric.results)
        except ArgumentError as error:
            raise ConfigError(f'{field}.{error}') from error
        except Exception:  # one sample may be too few for a metric
            names, is_own = {}, False
        if not is_own:
            self.open_prefixes.append(prefix)
        for name in (f'{prefix}{key}' for key in names):
            if name in self.names:
                raise ConfigError(
                    f'{field} reports {name}, as {self.names[name]} does; leave one out, or give it a name of its own'
                )
            self.names[name] = field


def foresee_metrics(plain: dict[str, Any], model: DualModel, loop: BaseLoop, batch: Any, stage: str = 'val') -> None:
    """Compute all metrics on one sample before training, and check the names that the config has for them.

    Names after the prefix of a user-defined metric may depend on the data and are only checked by a real validation.

    Args:
        plain: The config, as a plain dict.
        model: Both models, in evaluation mode; the caller preserves buffers and random states.
        loop: The loop of the stage; its evaluators are not changed.
        batch: A batch of one sample, or of copies of it.
        stage: ``'val'`` (default), or ``'test'``, whose metrics no field names.

    Raises:
        UnknownMetricError: See :func:`~motivation.config.metric_names.check_named_metrics`.
        ConfigError: A metric does not suit the data, or two have one name.
    """
    is_named = stage == 'val' and any(named_metrics(plain))
    reported: list[str] = []
    open_prefixes: list[str] = []
    evaluators: Mapping[str, Evaluator] = loop.evaluators
    for name, outputs in model.val_step(batch, models=list(evaluators)).items():
        found = _Reported()
        for field, metric in _after(evaluators[name], outputs, batch, f'{stage}_evaluator', is_named):
            found.add(field, metric)
        reported += [f'{name}/{metric}' for metric in found.names]
        open_prefixes += [f'{name}/{prefix}' for prefix in found.open_prefixes]
    if is_named:
        check_named_metrics(plain, reported, open_prefixes)


def _after(
    evaluator: Evaluator, outputs: Any, batch: Any, field: str, must_work: bool
) -> Iterator[tuple[str, BaseMetric]]:
    """Yield copies of the metrics of an evaluator, after they have processed the predictions, with their fields."""
    evaluator = copy.deepcopy(evaluator)
    metrics = evaluator.metrics
    for place, metric in enumerate(metrics):
        of_metric = field if len(metrics) == 1 else f'{field}.{place}'
        evaluator.metrics = [metric]
        try:
            evaluator.process(data_samples=outputs, data_batch=batch)
        except ArgumentError as error:
            raise ConfigError(f'{of_metric}.{error}') from error
        except ConfigError as error:
            raise ConfigError(f'{of_metric}: {error}') from error
        except Exception:  # one sample may be too few for a metric of the user's
            if must_work:
                raise
            continue
        yield of_metric, metric


def check_compared_metric(plain: dict[str, Any], metric: str) -> None:
    """Check that the runs of a comparison will report a metric, without their data and models.

    Args:
        plain: The config that they share, as a plain dict.
        metric: The metric, without what is scored: ``'accuracy/top1'``.

    Raises:
        ArgumentError: They will not.
        ConfigError: A metric of ``val_evaluator`` cannot be built.
    """
    classes = ((plain.get('model') or {}).get('base') or {}).get('num_classes')
    if not isinstance(classes, int) or classes < 1:
        return
    found = _Reported()
    evaluator = plain.get('val_evaluator') or []
    evaluator = evaluator.get('metrics', evaluator) if isinstance(evaluator, dict) else evaluator
    several = isinstance(evaluator, (list, tuple))
    for place, node in enumerate(evaluator if several else [evaluator]):
        field = f'val_evaluator.{place}' if several else 'val_evaluator'
        built = build(METRICS, node, field)
        if _has_processed(built, classes):
            found.add(field, built)
        else:
            found.open_prefixes.append(f'{built.prefix}/' if built.prefix else '')
    if not metric.startswith(tuple(found.open_prefixes)) and not _is_among(metric, found.names):
        began = next((name for name in (*map(averaged_name, MODEL_NAMES), *MODEL_NAMES) if metric.startswith(name)), '')
        without = metric.removeprefix(f'{began}/')
        advice = (
            f'both models are compared: write {without!r}'
            if began and without in found.names
            else near_matches(metric, found.names)
        )
        raise ArgumentError('metric', f'is {metric!r}, which the runs will not report; {advice}')


def _is_among(metric: str, names: Mapping[str, str]) -> bool:
    """Return whether a metric is among the reported ones, which do not have the names of the classes."""
    metric = metric.removeprefix('ema/')
    group, is_of_class, _ = metric.partition(f'/{PER_CLASS}/')
    return any(name.startswith(f'{group}/{PER_CLASS}/') for name in names) if is_of_class else metric in names


def _has_processed(metric: BaseMetric, classes: int) -> bool:
    """Give a metric an invented sample, of one class or of several labels, and return whether it takes either."""
    logits = torch.arange(float(classes))
    targets: Sequence[torch.Tensor] = torch.tensor(0), (logits == 0).float()
    for target in targets:
        try:
            metric.process(None, [{'logits': logits, 'target': target}])
        except Exception:  # of another kind of data
            continue
        return True
    return False
