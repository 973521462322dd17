"""Any classification metric of torchmetrics."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from motivation.errors import ArgumentError, near_matches, one_line, shortened
from motivation.evaluation.absent_classes import are_averaged, are_labelled, have_value, mean_of
from motivation.registry import METRICS
from motivation.structures import PER_CLASS, kind_of
from motivation.utils.arguments import arguments_of, checked

Task = Literal['multiclass', 'multilabel']

# Metrics whose result is no number, or a number for each of many thresholds.
_CURVES = ('ConfusionMatrix', 'PrecisionRecallCurve', 'ROC', 'StatScores')

# Names of metrics that differ from those of torchmetrics in lower case with underscores.
_NAMES = {
    'AUROC': 'auroc',
    'AveragePrecision': 'map',
    'EER': 'eer',
    'F1Score': 'f1',
    'FBetaScore': 'fbeta',
    'HammingDistance': 'hamming',
    'JaccardIndex': 'jaccard',
    'LogAUC': 'logauc',
    'MatthewsCorrCoef': 'matthews',
}

# What the number of classes is called by the metrics of each task.
_SIZES: dict[Task, str] = {'multiclass': 'num_classes', 'multilabel': 'num_labels'}

# Arguments that are given by the data, or that would change what an image counts for.
_GIVEN = ('num_classes', 'num_labels', 'multidim_average', 'validate_args')

# Classes of a metric that is built only to check its arguments.
_ANY_NUMBER = 100


@METRICS.register_module()
class TorchMetric(BaseMetric):
    """A classification metric of torchmetrics: F1, precision, recall, balanced accuracy, AUROC, mAP, calibration error, ...

    It is named ``f1/macro``: the metric, and how it is averaged over classes; values of single classes are
    ``f1/class/<class>``. Values between 0 and 1 are reported in percent; :data:`motivation.structures.METRIC_KINDS`
    says which. The metric is of probabilities: the softmax of the logits of an image with one class, the sigmoid of
    those of an image with several labels. It is computed on the host, once for all images.

    Legend: N images, K classes.

    Args:
        metric: Name of a class in :mod:`torchmetrics.classification` without its task: ``'F1Score'``.
        average: How the values of the classes are averaged: ``'macro'``, ``'weighted'`` by the number of images,
            ``'micro'``, or ``'none'`` for those of single classes only. ``None`` (default) for ``'macro'`` where the
            metric has averages.
        per_class: Whether to report the value of each class as well. Default: ``False``.
        task: ``'multiclass'``, ``'multilabel'``; ``None`` (default) for that of the data.
        name: Last part of the metric's name, to have a metric twice with other arguments: ``'bins10'`` gives
            ``calibration_error/bins10``. ``None`` (default) for the average, with ``_top<k>`` where ``top_k`` is given.
        **arguments: Further arguments of the class, such as ``top_k``, ``beta``, ``threshold`` or ``n_bins``. The number
            of classes is that of the model.

    Raises:
        ArgumentError: torchmetrics has no such metric, or it does not take an argument.
        ConfigError: The data are of another task.

    Example:
        >>> val_evaluator = [dict(type='Accuracy'), dict(type='TorchMetric', metric='F1Score', average='macro')]
    """

    @checked
    def __init__(
        self,
        metric: str,
        average: Literal['macro', 'micro', 'weighted', 'none'] | None = None,
        per_class: bool = False,
        task: Task | None = None,
        name: str | None = None,
        **arguments: Any,
    ) -> None:
        classes = _classes_of(metric)
        chosen = {task: classes[task]} if task in classes else classes
        if task is not None and task not in classes:
            raise ArgumentError('task', f'is {task!r}, and {metric} of torchmetrics is of {" and ".join(classes)} only')
        if name is not None and (not name or '/' in name):
            raise ArgumentError('name', f'must be one part of a name, without /, got {name!r}')
        kind = _NAMES.get(metric, re.sub(r'(?<!^)(?=[A-Z])', '_', metric).lower())
        super().__init__(collect_device='gpu', prefix=kind)  # gathers by collectives, not files; works on a CPU too
        self.metric = metric
        self.task = task
        self._arguments = arguments
        self._name = name
        self._averages: dict[Task, list[str | None]] = {}
        self._of_classes = {of: self._checked(of, cls, average, per_class) for of, cls in chosen.items()}
        refused = [found for found in self._of_classes.values() if isinstance(found, ArgumentError)]
        if len(refused) == len(chosen):
            raise refused[0]
        self._task: Task | None = None  # of the data

    def _checked(self, task: Task, cls: Any, average: str | None, per_class: bool) -> Any:
        """Build the metric of a task once, and return its class, or the error, which counts if the data are of that task."""
        try:
            known = arguments_of(cls)[0].keys() - {*_GIVEN, 'average'}
            for argument in self._arguments.keys() - known:
                way_out = near_matches(argument, {*known, 'average', 'per_class', 'task', 'name'})
                raise ArgumentError(argument, f'is not an argument of {cls.__name__}; {way_out}')
            self._averages[task] = _averages(self.metric, average, per_class, cls)
            for of_classes in self._averages[task]:
                self._build(task, cls, _ANY_NUMBER, of_classes)
        except ArgumentError as error:
            return error
        return cls

    def _build(self, task: Task, cls: Any, classes: int, average: str | None) -> Any:
        given = {_SIZES[task]: classes, **({'average': average} if average is not None else {})}
        try:
            # Only the first process computes: it must not wait for the others.
            return cls(**self._arguments, **given, sync_on_compute=False)
        except Exception as error:  # torchmetrics raises errors of any type
            raise self._unsuitable(error) from error

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Add the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: ``'logits'``, (K,), and ``'target'``, a class index or (K,) of 0 and 1, of each image.
        """
        logits = torch.stack([sample['logits'] for sample in data_samples]).float()
        targets = torch.stack([sample['target'] for sample in data_samples])
        self._task = self._find_task(targets)
        top = self._arguments.get('top_k', 1)
        if not isinstance(top, int) or not 1 <= top <= logits.shape[1]:
            raise ArgumentError('top_k', f'must be from 1 to {logits.shape[1]}, the number of classes, got {top!r}')
        if self._task == 'multilabel':
            values = logits.sigmoid()
        else:
            values = logits.argmax(dim=1) if self._needs_class_only() else logits.softmax(dim=1)
        self.results += zip(values.cpu().numpy(), targets.cpu().numpy(), strict=True)

    @property
    def averages_classes(self) -> bool:
        """Whether a value is the mean over classes, which a class without images changes."""
        return any('macro' in averages for averages in self._averages.values())

    def _find_task(self, targets: Tensor) -> Task:
        """Return the task of the data, which the metric must be of."""
        task: Task = 'multiclass' if targets.ndim == 1 else 'multilabel'
        found = 'one class an image' if task == 'multiclass' else 'several labels an image'
        if self.task not in (None, task):
            raise ArgumentError('task', f'is {self.task!r}, and the data have {found}; leave it out')
        cls = self._of_classes.get(task)
        if cls is None:
            raise ArgumentError(
                'metric', f'is {self.metric!r}, which torchmetrics does not have for {found}; choose another metric'
            )
        if isinstance(cls, ArgumentError):
            raise cls
        return task

    def _needs_class_only(self) -> bool:
        """Return whether the predicted class of an image is all that the metric takes, 1,000 times less to keep."""
        # Imported here because torchmetrics takes seconds, which a run without it need not spend.
        from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassStatScores

        cls = self._of_classes['multiclass']
        return issubclass(cls, (MulticlassConfusionMatrix, MulticlassStatScores)) and (
            self._arguments.get('top_k', 1) == 1
        )

    def compute_metrics(self, results: list[tuple[Any, Any]]) -> dict[str, float]:
        """Return the values over all images, by the last parts of their names; nan is a class without a value."""
        values, targets = (torch.from_numpy(np.stack(column)) for column in zip(*results, strict=True))
        assert self._task is not None
        classes = list((self.dataset_meta or {}).get('classes', ()))
        size = values.shape[1] if values.ndim == 2 else max(len(classes), int(torch.maximum(values, targets).max()) + 1)
        targets = targets.long()
        found: dict[str, float] = {}
        for average in self._averages[self._task]:
            found |= self._named(self._averaged(values, targets, size, average), average, classes)
        return found

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the values over all images, without those of classes that have none.

        Args:
            size: Number of images of the data.
        """
        return {name: value for name, value in super().evaluate(size).items() if not math.isnan(value)}

    def _averaged(self, values: Tensor, targets: Tensor, size: int, average: str | None) -> Tensor:
        """Return the value, (), or those of the classes, (K,), nan where one is not defined."""
        assert self._task is not None
        build = partial(self._build, self._task, self._of_classes[self._task], size)
        having, lacking = are_labelled(targets, size, self._arguments.get('ignore_index'))
        if average in ('macro', 'weighted'):
            several = self._task == 'multilabel'
            kept = are_averaged(self.metric, self._arguments, values, having, lacking, several)
            if kept is not None and not kept.all():
                return mean_of(
                    self._compute(build('none'), values, targets), kept * (having if average == 'weighted' else 1)
                )
        result = self._compute(build(average), values, targets)
        if result.shape == having.shape:
            result = result.float().masked_fill(~have_value(self.metric, having, lacking), math.nan)
        return result

    def _compute(self, metric: Any, values: Tensor, targets: Tensor) -> Tensor:
        try:
            with warnings.catch_warnings():  # of classes without an image
                warnings.simplefilter('ignore')
                metric.update(values, targets)
                result = metric.compute()
        except Exception as error:  # torchmetrics raises errors of any type
            raise self._unsuitable(error) from error
        return result[0] if isinstance(result, tuple) else result  # at a fixed recall, with thresholds

    def _unsuitable(self, error: Exception) -> ArgumentError:
        """Return the error about the argument that an error of torchmetrics is about."""
        text = one_line(str(error), 200).rstrip('.')
        argument = next((name for name in (*self._arguments, 'average') if f'`{name}`' in text), 'metric')
        return ArgumentError(argument, f'does not suit {self.metric}: {text}; correct it')

    def _named(self, result: Tensor, average: str | None, classes: Sequence[str]) -> dict[str, float]:
        """Return the values by the last parts of their names."""
        kind = kind_of(f'{self.prefix}/value')
        scale = 100.0 if kind is not None and kind.unit == 'percent' else 1.0
        numbers = (scale * result.double()).flatten().tolist()
        if result.ndim == 0:
            top = self._arguments.get('top_k', 1)
            last = average or self._norm() or 'value'
            return {self._name or (last if top == 1 else f'{last}_top{top}'): numbers[0]}
        first = f'{self._name}/{PER_CLASS}' if self._name else PER_CLASS
        return {f'{first}/{label}': value for label, value in zip(_labels(classes, len(numbers)), numbers, strict=True)}

    def _norm(self) -> str | None:
        """Return the norm of a metric that has one, such as a calibration error."""
        assert self._task is not None
        parameter = arguments_of(self._of_classes[self._task])[0].get('norm')
        return None if parameter is None else self._arguments.get('norm', parameter.default)


def _classes_of(metric: str) -> dict[Task, Any]:
    """Return the classes of torchmetrics of a name, by task."""
    # Imported here because torchmetrics takes seconds, which a run without it need not spend.
    from torchmetrics import classification

    prefixes: dict[Task, str] = {'multiclass': 'Multiclass', 'multilabel': 'Multilabel'}
    found = {task: cls for task, of in prefixes.items() if (cls := getattr(classification, f'{of}{metric}', None))}
    if metric in _CURVES:
        raise ArgumentError(
            'metric',
            f'is {metric!r}, which is not a number; predictions.csv has what it is made from, and report.md the confusions',
        )
    if not found:
        known = {
            name.removeprefix(of) for name in vars(classification) for of in prefixes.values() if name.startswith(of)
        }
        raise ArgumentError(
            'metric',
            f'is {shortened(metric)}, which is not a metric of torchmetrics.classification; '
            f'{near_matches(metric, known - set(_CURVES))}',
        )
    return found


def _averages(metric: str, average: str | None, per_class: bool, cls: Any) -> list[str | None]:
    """Return the averages to compute, ``None`` for a metric that has none."""
    has_averages = 'average' in arguments_of(cls)[0]
    if has_averages:
        first = average or 'macro'
        return [first, 'none'] if per_class and first != 'none' else [first]
    for argument, given in (('average', average is not None), ('per_class', per_class)):
        if given:
            raise ArgumentError(argument, f'is given, and {metric} is not of single classes; leave it out')
    return [None]


def _labels(classes: Sequence[str], count: int) -> list[str]:
    """Return a name for each class: its own, with its index if it is unknown or not the only one of that name."""
    names = [one_line(str(name), 60) for name in classes] if len(classes) == count else ['class'] * count
    times = Counter(names)
    return [name if times[name] == 1 else f'{name} {index}' for index, name in enumerate(names)]
