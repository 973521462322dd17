"""Types that several parts share: the names of the two models and the record of a training step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

ModelName = Literal['base', 'motivated']

MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)

# Follows a model's name where its averaged weights are scored: 'base/ema'.
_AVERAGED = '/ema'


class MetricKind(NamedTuple):
    """What the values of a metric mean.

    Attributes:
        unit: ``'percent'``, ``'nats'``, or ``''`` for a number without a unit.
        lower_is_better: Whether lower values are better.
    """

    unit: str = 'percent'
    lower_is_better: bool = False


# By the first part of a metric's name: 'f1' of 'f1/macro'. The only place that says what is a percentage, and what of two
# values is better.
METRIC_KINDS = {
    **dict.fromkeys(
        (
            'accuracy', 'auroc', 'exact_match', 'f1', 'fbeta', 'jaccard', 'logauc', 'map', 'negative_predictive_value',
            'precision', 'precision_at_fixed_recall', 'ranking_average_precision', 'recall', 'recall_at_fixed_precision',
            'sensitivity_at_specificity', 'specificity', 'specificity_at_sensitivity',
        ),
        MetricKind(),
    ),
    **dict.fromkeys(('calibration_error', 'eer', 'hamming'), MetricKind(lower_is_better=True)),
    **dict.fromkeys(('cohen_kappa', 'matthews'), MetricKind('')),
    **dict.fromkeys(('coverage_error', 'hinge_loss', 'ranking_loss'), MetricKind('', lower_is_better=True)),
    'loss': MetricKind('nats', lower_is_better=True),
}  # fmt: skip

# Stands in a name before that of a class: 'f1/class/daisy'.
PER_CLASS = 'class'


def kind_of(metric: str) -> MetricKind | None:
    """Return what the values of a metric mean, or ``None`` for one of a plugin that is no loss.

    Args:
        metric: Its name, with or without what was scored: ``'f1/macro'``, ``'base/ema/f1/macro'``. A plugin's is a
            loss if a part of its name but the last is ``'loss'``.
    """
    parts = metric.split('/')
    parts = parts[1:] if parts[0] in MODEL_NAMES else parts
    parts = parts[1:] if parts[:1] == [_AVERAGED.removeprefix('/')] else parts
    known = METRIC_KINDS.get(parts[0]) if len(parts) > 1 else None
    return METRIC_KINDS['loss'] if known is None and 'loss' in parts[:-1] else known


def lower_is_better(metric: str) -> bool:
    """Return whether lower values of a metric are better: of ``'loss/cross_entropy'``, ``'base/calibration_error/l1'``."""
    kind = kind_of(metric)
    return kind is not None and kind.lower_is_better


def is_per_class(metric: str) -> bool:
    """Return whether a metric is of one class: ``'f1/class/daisy'``."""
    return f'/{PER_CLASS}/' in metric


def averaged_name(model: ModelName) -> str:
    """Return the name under which the averaged weights of a model are scored: ``'base/ema'`` or ``'motivated/ema'``."""
    return f'{model}{_AVERAGED}'


def model_of(scored: str) -> ModelName:
    """Return the model whose weights, or averaged weights, have been scored under a name."""
    return 'base' if scored.partition('/')[0] == 'base' else 'motivated'


def split_metric(reported: str) -> tuple[str, str]:
    """Split the name of a reported metric.

    Returns:
        What was scored, and the metric: ``'base/ema/accuracy/top1'`` is ``'accuracy/top1'`` of ``'base/ema'``.
    """
    model, _, metric = reported.partition('/')
    averaged = _AVERAGED.removeprefix('/') + '/'
    return (model + _AVERAGED, metric.removeprefix(averaged)) if metric.startswith(averaged) else (model, metric)


class SampleLosses(NamedTuple):
    """The loss of each sample of a batch, in all processes.

    Attributes:
        indices: Index of each sample in the training data set.
        losses: Its loss, whose mean over the batch is the batch's loss.
    """

    indices: list[int]
    losses: list[float]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The record of one training batch, equal in all processes.

    Attributes:
        model: The model that trained on the batch.
        loss: Mean loss over all processes.
        images: Number of images, or other samples, in all processes.
        finite: Whether the loss is finite; otherwise no step was taken.
        stepped: Whether a step was taken: the loss is finite and, in precision ``'fp16'``, the gradient too.
        passes: Number of forward and backward passes of the model, in all processes.
        seconds: Seconds since the end of the last batch, including waiting for data but not validation.
        clock: Monotonic clock of rank 0 when the loss was read, in seconds.
        distilled: Whether the base model also took a distillation step on the batch.
        left_out: Number of images skipped because they could not be read, in all processes.
        stop_requested: Whether any process has received a signal to stop.
        grad_norm: L2 norm of the gradient before clipping, mean over all processes; infinite if a loss scaler skips
            the step, ``None`` unless a policy asks for it.
        measured: Other numbers that a policy asks for, by name, means over all processes.
        sample_losses: The loss of each sample; ``None`` unless a policy asks for it.
    """

    model: ModelName
    loss: float
    images: int
    finite: bool
    stepped: bool
    passes: int
    seconds: float
    clock: float = 0.0
    distilled: bool = False
    left_out: int = 0
    stop_requested: bool = False
    grad_norm: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    sample_losses: SampleLosses | None = None

    @property
    def accuracy(self) -> float | None:
        """Training accuracy on the batch, 0 to 1, mean over all processes; ``None`` unless a policy asks for it."""
        return self.measured.get('accuracy')
